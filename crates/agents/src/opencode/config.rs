//! The effective configuration of `OpenCode`, as far as a driver must know it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use jsonc_parser::{ParseOptions, parse_to_serde_value};
use serde_json::{Map, Value};

use super::places::Places;

/// A configuration file larger than this is not read.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The names of a configuration file in a folder, the later wins.
pub(super) const CONFIG_NAMES: &[&str] = &["opencode.json", "opencode.jsonc"];

/// Every configuration that will be merged, the later wins.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    layers: Vec<(String, Value)>,
}

impl Configuration {
    /// Reads what `OpenCode` would read in `workspace`, and what `untracked` folders add.
    pub(super) fn read(places: &Places, workspace: &Path, untracked: &[PathBuf]) -> Self {
        let mut files = Vec::new();
        if let Some(global) = places.global() {
            files.push(global.join("config.json"));
            files.extend(CONFIG_NAMES.iter().map(|name| global.join(name)));
        }
        files.extend(places.config_file.clone());
        let folders = [workspace.to_owned(), workspace.join(".opencode")]
            .into_iter()
            .chain(places.dot_folder.clone())
            .chain(untracked.iter().cloned())
            .chain(places.config_dir.clone());
        for folder in folders {
            files.extend(CONFIG_NAMES.iter().map(|name| folder.join(name)));
        }
        let layers = files.iter().filter_map(|file| read_layer(file)).collect();
        Self { layers }
    }

    /// Adds a layer from text; an error if it is not JSON with comments.
    pub(super) fn add(&mut self, text: &str) -> Result<Value, String> {
        let value = parse(text)?;
        self.layers.push((text.to_owned(), value.clone()));
        Ok(value)
    }

    /// Every variable that is named by `{env:NAME}`.
    pub(super) fn variables(&self) -> BTreeSet<String> {
        self.layers
            .iter()
            .flat_map(|(text, _)| text.split("{env:").skip(1))
            .filter_map(|rest| rest.split_once('}'))
            .map(|(name, _)| name.trim().to_owned())
            .collect()
    }

    /// The models in force: of this agent, of the session, of small jobs.
    pub(super) fn models(&self, agent: Option<&str>) -> Vec<String> {
        let of_agent = agent
            .and_then(|name| self.agent(name))
            .and_then(|agent| agent.get("model"));
        let of_session = ["model", "small_model"].map(|key| self.last(key));
        of_agent
            .into_iter()
            .chain(of_session.into_iter().flatten())
            .filter_map(|model| model.as_str().map(str::to_owned))
            .collect()
    }

    /// An agent that configuration defines, or adds to.
    pub(super) fn agent(&self, name: &str) -> Option<&Value> {
        self.layers.iter().rev().find_map(|(_, value)| {
            ["agent", "mode"]
                .iter()
                .find_map(|key| value.get(key)?.get(name))
        })
    }

    /// The names of the agents that configuration defines, or adds to.
    pub(super) fn agents(&self) -> Vec<String> {
        let tables = self.layers.iter().flat_map(|(_, value)| {
            ["agent", "mode"].map(|key| value.get(key).and_then(Value::as_object))
        });
        tables.flatten().flat_map(Map::keys).cloned().collect()
    }

    /// The model that configuration gives an agent.
    pub(super) fn model_of_agent(&self, name: &str) -> Option<String> {
        Some(self.agent(name)?.get("model")?.as_str()?.to_owned())
    }

    /// The model of a session whose agent has none.
    pub(super) fn model(&self) -> Option<String> {
        Some(self.last("model")?.as_str()?.to_owned())
    }

    /// The names of the providers that configuration defines.
    pub(super) fn providers(&self) -> Vec<String> {
        let tables = self.layers.iter();
        let tables = tables.filter_map(|(_, value)| value.get("provider")?.as_object());
        let mut names: Vec<String> = tables.flat_map(Map::keys).cloned().collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Credentials that are written in the configuration itself.
    pub(super) fn literal_keys(&self) -> Vec<String> {
        let providers = self
            .layers
            .iter()
            .filter_map(|(_, value)| value.get("provider")?.as_object());
        providers
            .flat_map(Map::values)
            .filter_map(|provider| provider.get("options")?.get("apiKey")?.as_str())
            .filter(|key| !key.starts_with('{'))
            .map(str::to_owned)
            .collect()
    }

    fn last(&self, key: &str) -> Option<&Value> {
        self.layers
            .iter()
            .rev()
            .find_map(|(_, value)| value.get(key))
    }
}

/// A file that is missing or broken is no layer: `OpenCode` reports what it cannot read itself.
fn read_layer(file: &Path) -> Option<(String, Value)> {
    let text = read_bounded(file)?;
    let value = parse(&text).ok()?;
    Some((text, value))
}

pub(super) fn read_bounded(file: &Path) -> Option<String> {
    let size = fs::metadata(file).ok().filter(fs::Metadata::is_file)?.len();
    (size <= FILE_BYTES_MAX).then(|| fs::read_to_string(file).ok())?
}

/// JSON with comments and trailing commas.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let text = text.trim_start_matches('\u{feff}');
    let value: Option<Value> =
        parse_to_serde_value(text, &ParseOptions::default()).map_err(|error| error.to_string())?;
    match value {
        None => Ok(Value::Object(Map::new())),
        Some(value @ Value::Object(_)) => Ok(value),
        Some(_) => Err("it is not a JSON object".to_owned()),
    }
}

/// Lays `upper` over `lower`: objects are merged, and anything else is replaced.
pub(super) fn merge(lower: &mut Value, upper: Value) {
    match (lower, upper) {
        (Value::Object(lower), Value::Object(upper)) => {
            for (key, value) in upper {
                match lower.get_mut(&key) {
                    Some(below) => merge(below, value),
                    None => {
                        lower.insert(key, value);
                    }
                }
            }
        }
        (lower, upper) => *lower = upper,
    }
}

/// The providers that the user has logged in to.
pub(super) fn login_names(file: &Path) -> Vec<String> {
    let logins = read_bounded(file).and_then(|text| serde_json::from_str::<Value>(&text).ok());
    match logins {
        Some(Value::Object(logins)) => logins.into_iter().map(|(name, _)| name).collect(),
        _ => Vec::new(),
    }
}

/// The tokens of the user's logins, to be masked.
pub(super) fn login_secrets(file: &Path) -> Vec<String> {
    let logins = read_bounded(file).and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let Some(Value::Object(logins)) = logins else {
        return Vec::new();
    };
    logins
        .values()
        .flat_map(|login| ["key", "access", "refresh", "token"].map(|field| login.get(field)))
        .flatten()
        .filter_map(|secret| secret.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn comments_and_trailing_commas_are_read() {
        let text = "\u{feff}{ // a\n \"model\": \"p/m\", /* b */ \"x\": [1,],\n}";
        assert_eq!(parse(text), Ok(json!({"model": "p/m", "x": [1]})));
        assert_eq!(parse(""), Ok(json!({})));
        assert!(parse("[1]").is_err() && parse("{bad").is_err());
    }

    #[test]
    fn layers_are_merged_deep() {
        let mut lower = json!({"a": {"b": 1, "c": [1]}, "d": 1});
        merge(&mut lower, json!({"a": {"c": [2], "e": 3}, "d": {"f": 1}}));
        assert_eq!(
            lower,
            json!({"a": {"b": 1, "c": [2], "e": 3}, "d": {"f": 1}})
        );
    }

    #[test]
    fn what_a_session_needs_is_found() {
        let mut configuration = Configuration::default();
        configuration.add(r#"{"model":"openai/x","provider":{"p":{"options":{"apiKey":"{env:P_KEY}","baseURL":"{env: P_URL }"}}}}"#).unwrap();
        configuration.add(r#"{"agent":{"rev":{"model":"zai/y"}},"provider":{"q":{"options":{"apiKey":"literal-key"}}}}"#).unwrap();
        assert_eq!(configuration.models(Some("rev")), ["zai/y", "openai/x"]);
        assert_eq!(configuration.models(None), ["openai/x"]);
        assert_eq!(
            configuration.variables().into_iter().collect::<Vec<_>>(),
            ["P_KEY", "P_URL"]
        );
        assert_eq!(configuration.literal_keys(), ["literal-key"]);
        assert!(configuration.agent("none").is_none());
    }
}
