//! Pointing `OpenCode` at the scripted model, and at nothing else.

use std::{fs, io, path::Path};

use serde_json::{Value, json};

/// The version of `OpenCode` whose configuration folder is seeded. Where another version runs, it
/// tries to install its own plugin package, from a registry that [`isolated_env`] makes unreachable.
pub const OPENCODE_VERSION: &str = "1.18.33";

/// An address at which nobody answers.
const NOWHERE: &str = "http://127.0.0.1:9/";

/// The content of an `opencode.json` that knows one provider, `scripted`, at `base_url` (which ends
/// in `/v1`), and neither shares, updates, formats nor starts language servers.
///
/// Prices are per million tokens: 3 in, 15 out, 0.3 from the cache.
pub fn opencode_config(base_url: &str) -> Value {
    json!({
        "$schema": "https://opencode.ai/config.json",
        "model": "scripted/scripted",
        "small_model": "scripted/scripted-small",
        "enabled_providers": ["scripted"],
        "share": "disabled",
        "autoupdate": false,
        "lsp": false,
        "formatter": false,
        "provider": {"scripted": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "Scripted",
            "options": {
                "baseURL": base_url,
                "apiKey": "scripted",
                "timeout": 600_000,
                "chunkTimeout": 120_000,
            },
            "models": {
                "scripted": {
                    "tool_call": true,
                    "reasoning": true,
                    "limit": {"context": 200_000, "output": 8192},
                    "cost": {"input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75},
                },
                "scripted-small": {
                    "tool_call": true,
                    "limit": {"context": 32_000, "output": 4096},
                },
            },
        }},
    })
}

/// Makes a home in `dir`, with the configuration above and seeded so that nothing waits for an
/// install, and returns the whole environment for an `OpenCode` (or a Crewboss) that lives in it.
///
/// Nothing of the user's is read, and no request goes beyond loopback: downloads and updates are
/// switched off, and what is not switched off (an agent's own `curl`, a plugin) meets a proxy and a
/// package registry at which nobody answers. `PATH` is this process's own.
///
/// # Errors
/// If the home cannot be written.
pub fn isolated_env(dir: &Path, base_url: &str) -> io::Result<Vec<(String, String)>> {
    let dir = std::path::absolute(dir)?;
    let folder = |name: &str| dir.join(name).display().to_string();
    for name in [".config", ".local/share", ".local/state", ".cache", "tmp"] {
        fs::create_dir_all(dir.join(name))?;
    }
    seed(&dir.join(".config/opencode"), base_url)?;
    let fixed = [
        ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
        ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
        ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1"),
        ("OPENCODE_DISABLE_SHARE", "1"),
        ("OPENCODE_DISABLE_DEFAULT_PLUGINS", "1"),
        ("OPENCODE_DISABLE_CLAUDE_CODE", "1"),
        ("npm_config_registry", NOWHERE),
        ("npm_config_fetch_retries", "0"),
        ("npm_config_offline", "true"),
        ("HTTP_PROXY", NOWHERE),
        ("HTTPS_PROXY", NOWHERE),
        ("http_proxy", NOWHERE),
        ("https_proxy", NOWHERE),
        ("NO_PROXY", "127.0.0.1,localhost,::1"),
        ("no_proxy", "127.0.0.1,localhost,::1"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("LANG", "C.UTF-8"),
        ("TERM", "dumb"),
    ];
    let placed = [
        ("HOME", dir.display().to_string()),
        ("OPENCODE_TEST_HOME", dir.display().to_string()),
        ("XDG_CONFIG_HOME", folder(".config")),
        ("XDG_DATA_HOME", folder(".local/share")),
        ("XDG_STATE_HOME", folder(".local/state")),
        ("XDG_CACHE_HOME", folder(".cache")),
        ("TMPDIR", folder("tmp")),
        ("PATH", own_path()),
    ];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(placed
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .chain(fixed)
        .collect())
}

/// Writes the configuration, and package files that say that `OpenCode`'s plugin package is there.
fn seed(config: &Path, base_url: &str) -> io::Result<()> {
    fs::create_dir_all(config.join("node_modules"))?;
    let packages = json!({"@opencode-ai/plugin": OPENCODE_VERSION});
    let manifest = json!({"dependencies": packages});
    let lock = json!({"lockfileVersion": 3, "packages": {"": manifest}});
    for (name, content) in [
        ("opencode.json", opencode_config(base_url)),
        ("package.json", manifest),
        ("package-lock.json", lock),
    ] {
        fs::write(config.join(name), format!("{content:#}\n"))?;
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tools of this machine are found through PATH"
)]
fn own_path() -> String {
    std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_is_complete_and_seeded() {
        let dir = tempfile::tempdir().unwrap();
        let env = isolated_env(dir.path(), "http://127.0.0.1:1/v1").unwrap();
        let value = |name: &str| env.iter().find(|(key, _)| key == name).unwrap().1.clone();
        for name in [
            "HOME",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "XDG_CACHE_HOME",
            "TMPDIR",
        ] {
            assert!(Path::new(&value(name)).is_dir(), "{name}");
            assert!(
                value(name).starts_with(dir.path().to_str().unwrap()),
                "{name}"
            );
        }
        let config = fs::read(dir.path().join(".config/opencode/opencode.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config, opencode_config("http://127.0.0.1:1/v1"));
    }
}
