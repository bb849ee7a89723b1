//! What of the user's environment an agent sees: an allow-list, never everything.

use std::collections::BTreeMap;

/// Passed to every agent.
const ALLOWED: &[&str] = &[
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TERM", "TMPDIR",
];

/// Passed to every agent, by the beginning of the name.
const ALLOWED_PREFIXES: &[&str] = &["LC_", "XDG_", "SSL_CERT_", "OPENCODE_"];

/// They describe another `OpenCode` process, whose child the agent is not.
const FOREIGN: &[&str] = &[
    "OPENCODE_PID",
    "OPENCODE_RUN_ID",
    "OPENCODE_PROCESS_ROLE",
    "OPENCODE_WORKSPACE_ID",
    "OPENCODE_SERVER_PASSWORD",
    "OPENCODE_SERVER_USERNAME",
];

/// Words in the name of a variable that holds a credential.
const SECRET_WORDS: &[&str] = &["KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "AUTH"];

/// An environment by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The part of the user's environment that every agent sees, and the variables `named`.
    pub(crate) fn allowed<'a>(
        all: &[(String, String)],
        named: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let named: Vec<&str> = named.into_iter().collect();
        let passes = |name: &str| named.contains(&name) || is_allowed(name);
        Self(
            all.iter()
                .filter(|(name, _)| passes(name))
                .cloned()
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    pub(crate) fn remove_all(&mut self, is_unwanted: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| !is_unwanted(name));
    }

    /// The values of variables that look like credentials by their names, and the passwords of
    /// proxies.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let looks_secret = |name: &str| {
            let name = name.to_ascii_uppercase();
            SECRET_WORDS.iter().any(|word| name.contains(word)) && !name.starts_with("OPENCODE_")
        };
        self.0
            .iter()
            .filter(|(name, _)| looks_secret(name))
            .map(|(_, value)| value.clone())
            .chain(self.0.iter().filter_map(proxy_password))
            .collect()
    }

    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.0.into_iter().collect()
    }
}

/// What stands between user and host in the URL of a proxy.
fn proxy_password((name, value): (&String, &String)) -> Option<String> {
    let (userinfo, _) = value.rsplit_once('@').filter(|_| is_proxy(name))?;
    let (_, password) = userinfo
        .rsplit_once("//")
        .unwrap_or(("", userinfo))
        .1
        .split_once(':')?;
    Some(password.to_owned())
}

fn is_proxy(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with("_proxy")
}

fn is_allowed(name: &str) -> bool {
    let has_prefix = ALLOWED_PREFIXES
        .iter()
        .any(|prefix| name.starts_with(prefix));
    (ALLOWED.contains(&name) || has_prefix || is_proxy(name)) && !FOREIGN.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(names: &[&str]) -> Vec<(String, String)> {
        names
            .iter()
            .map(|name| ((*name).to_owned(), "v".to_owned()))
            .collect()
    }

    #[test]
    fn only_what_is_allowed_or_named_passes() {
        let user = pairs(&[
            "PATH",
            "HOME",
            "LC_ALL",
            "XDG_DATA_HOME",
            "https_proxy",
            "NO_PROXY",
            "AWS_SECRET",
            "OPENCODE_DISABLE_PRUNE",
            "OPENCODE_PID",
            "MY_KEY",
            "CREWBOSS_HOME",
            "LD_PRELOAD",
        ]);
        let passed: Vec<String> = Environment::allowed(&user, ["MY_KEY"])
            .into_pairs()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(
            passed,
            [
                "HOME",
                "LC_ALL",
                "MY_KEY",
                "NO_PROXY",
                "OPENCODE_DISABLE_PRUNE",
                "PATH",
                "XDG_DATA_HOME",
                "https_proxy",
            ],
        );
    }

    #[test]
    fn credentials_are_known_by_name() {
        let mut environment = Environment::default();
        environment.set("OPENAI_API_KEY", "k1");
        environment.set("github_token", "k2");
        environment.set("PATH", "/bin");
        environment.set("https_proxy", "http://me:pass-word@host:3128");
        environment.set("NO_PROXY", "a@b,host");
        assert_eq!(environment.secrets(), ["k1", "k2", "pass-word"]);
    }
}
