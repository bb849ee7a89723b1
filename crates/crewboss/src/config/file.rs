//! Reads one file and lays it over what is there.

use std::{fs, io, path::Path};

use domain::{
    agent::{AgentConfig, AgentName},
    gate::GateSpec,
};
use serde::Deserialize as _;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{Config, KEYS, Origin, Raw, nearest};
use crate::fail::Fail;

/// The largest file that is read: far above any configuration, so that a wrong path (a device, a
/// log) is an error and not a full memory.
const FILE_MAX: u64 = 1 << 20;

/// A file's text; none where there is no file.
pub(super) fn read(path: &Path) -> Result<Option<String>, Fail> {
    let cannot = |error: &io::Error| Fail::io(format!("cannot read {}", path.display()), error);
    match fs::metadata(path) {
        Ok(found) if found.len() > FILE_MAX || !found.is_file() => {
            return Err(Fail::usage(format!(
                "{} is no configuration file",
                path.display()
            )));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(&error)),
    }
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Fail::usage(format!("{} is not UTF-8", path.display())))
        }
        Err(error) => Err(cannot(&error)),
    }
}

/// Lays a file's text over the configuration.
pub(super) fn apply(config: &mut Config, path: &Path, text: &str) -> Result<(), Fail> {
    let reader = Reader { path, text };
    let root = DeTable::parse(text).map_err(|error| reader.wrong_toml(&error))?;
    for (name, value) in root.into_inner() {
        match name.get_ref().as_ref() {
            "agents" => reader.agents(config, &value)?,
            "gates" => reader.gates(config, value)?,
            section => {
                let known = KEYS
                    .iter()
                    .any(|key| key.name.split('.').next() == Some(section));
                if !known {
                    return Err(reader.unknown(&name.span(), section, sections()));
                }
                reader.section(config, section, &value)?;
            }
        }
    }
    Ok(())
}

fn sections() -> impl Iterator<Item = &'static str> {
    let known = KEYS.iter().filter_map(|key| key.name.split('.').next());
    known.chain(["agents", "gates"])
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        before.split(|byte| *byte == b'\n').count()
    }

    fn at(&self, span: &std::ops::Range<usize>, message: impl std::fmt::Display) -> Fail {
        let (path, line) = (self.path.display(), self.line(span.start));
        Fail::usage(format!("{path}:{line}: {message}"))
    }

    fn wrong_toml(&self, error: &toml::de::Error) -> Fail {
        let span = error.span().unwrap_or(0..0);
        self.at(
            &span,
            error.message().lines().next().unwrap_or("this is no TOML"),
        )
    }

    fn unknown<'a>(
        &self,
        span: &std::ops::Range<usize>,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Fail {
        let fail = self.at(span, format_args!("unknown key `{}`", name.escape_debug()));
        let near = nearest(name, known);
        match near {
            Some(near) => fail.hint(format!("did you mean `{near}`?")),
            None => fail.hint("`crewboss config show` lists every key"),
        }
    }

    fn table<'v, 'i>(
        &self,
        name: &str,
        value: &'v Spanned<DeValue<'i>>,
    ) -> Result<&'v DeTable<'i>, Fail> {
        let is_no_table = || self.at(&value.span(), format_args!("`{name}` is a table: [{name}]"));
        value.get_ref().as_table().ok_or_else(is_no_table)
    }

    fn section(
        &self,
        config: &mut Config,
        section: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), Fail> {
        for (name, value) in self.table(section, value)? {
            let full = format!("{section}.{}", name.get_ref());
            if !KEYS.iter().any(|key| key.name == full) {
                return Err(self.unknown(&name.span(), &full, KEYS.iter().map(|key| key.name)));
            }
            config
                .settings
                .assign(&full, &raw(value.get_ref()))
                .map_err(|problem| self.at(&value.span(), format_args!("{full}: {problem}")))?;
            config.origins.insert(full, self.origin(&name.span()));
        }
        Ok(())
    }

    fn origin(&self, span: &std::ops::Range<usize>) -> Origin {
        Origin::File {
            path: self.path.to_owned(),
            line: self.line(span.start),
        }
    }

    fn agents(&self, config: &mut Config, value: &Spanned<DeValue<'_>>) -> Result<(), Fail> {
        let table = self.table("agents", value)?.clone();
        for (name, value) in table {
            let shown = name.get_ref().clone();
            let agent: AgentName = shown.parse().map_err(|error| {
                self.at(
                    &name.span(),
                    format_args!("agents.{}: {error}", shown.escape_debug()),
                )
            })?;
            let span = value.span();
            let parsed = AgentConfig::deserialize(ValueDeserializer::from(value))
                .map_err(|error| self.in_table(&format!("agents.{shown}"), &span, &error))?;
            parsed
                .validate(&shown)
                .map_err(|error| self.at(&name.span(), error))?;
            config
                .origins
                .insert(format!("agents.{shown}"), self.origin(&name.span()));
            config.agents.insert(agent, parsed);
        }
        Ok(())
    }

    fn gates(&self, config: &mut Config, value: Spanned<DeValue<'_>>) -> Result<(), Fail> {
        let span = value.span();
        let mut found: Vec<(std::ops::Range<usize>, GateSpec)> = Vec::new();
        match value.into_inner() {
            DeValue::Array(list) => {
                for value in list {
                    let span = value.span();
                    found.push((span.clone(), self.gate("gates", value)?));
                }
            }
            DeValue::Table(table) => {
                for (name, mut value) in table {
                    let full = format!("gates.{}", name.get_ref());
                    let entry = value.span();
                    if let DeValue::Table(fields) = value.get_mut() {
                        let text = DeValue::String(name.get_ref().clone());
                        let key = Spanned::new(name.span(), "name".into());
                        fields.insert(key, Spanned::new(name.span(), text));
                    }
                    found.push((entry, self.gate(&full, value)?));
                }
            }
            _ => return Err(self.at(&span, "`gates` is a list of tables: [[gates]]")),
        }
        for (span, gate) in found {
            let problem = |text: &str| self.at(&span, format_args!("gate {}: {text}", gate.name));
            check_gate(&gate).map_err(problem)?;
            config.gates.retain(|earlier| earlier.name != gate.name);
            config
                .origins
                .insert(format!("gates.{}", gate.name), self.origin(&span));
            config.gates.push(gate);
        }
        Ok(())
    }

    fn gate(&self, name: &str, value: Spanned<DeValue<'_>>) -> Result<GateSpec, Fail> {
        let span = value.span();
        GateSpec::deserialize(ValueDeserializer::from(value))
            .map_err(|error| self.in_table(name, &span, &error))
    }

    fn in_table(
        &self,
        table: &str,
        span: &std::ops::Range<usize>,
        error: &toml::de::Error,
    ) -> Fail {
        let span = error.span().unwrap_or_else(|| span.clone());
        self.at(&span, format_args!("{table}: {}", error.message()))
    }
}

/// What the types of a gate cannot say.
pub(crate) fn check_gate(gate: &GateSpec) -> Result<(), &'static str> {
    let empty = gate.command.as_ref().is_some_and(Vec::is_empty);
    match (&gate.command, &gate.run) {
        _ if gate.name.trim().is_empty() => Err("it needs a name"),
        _ if gate.timeout_seconds == 0 => Err("timeout_seconds is at least 1"),
        (None, None) => Err("it needs `run` (a line for sh) or `command` (a list)"),
        (Some(_), Some(_)) => Err("it has both `run` and `command`: one of them is enough"),
        (Some(_), None) if empty => Err("`command` is empty"),
        (Some(_), None) | (None, Some(_)) => Ok(()),
    }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or(Raw::Other("a number that large"), Raw::Int)
        }
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Float(_) => Raw::Other("a number with a fraction"),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Array(_) => Raw::Other("a list"),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let mut config = Config::default();
        match apply(&mut config, Path::new("config.toml"), text) {
            Ok(()) => Ok(config),
            Err(fail) => Err(fail.render()),
        }
    }

    #[test]
    fn a_file_sets_values_agents_and_gates() {
        let config = load(
            "[run]\nparallel = 5\n\n[agents.sh]\ndriver = \"command\"\ncommand = \"sh\"\n\n\
             [[gates]]\nname = \"test\"\nrun = \"cargo test\"\n",
        )
        .unwrap();
        assert_eq!(config.settings.run.parallel, 5);
        assert_eq!(config.origin("run.parallel").to_string(), "config.toml:2");
        assert_eq!(config.origin("run.auto_retry").to_string(), "default");
        assert_eq!(config.agents.len(), 1);
        assert_eq!(config.gates[0].run.as_deref(), Some("cargo test"));
        let named = load("[gates.lint]\ncommand = [\"true\"]\n").unwrap();
        assert_eq!(named.gates[0].name, "lint");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, expected) in [
            (
                "[run]\nparalel = 5\n",
                "config.toml:2: unknown key `run.paralel`",
            ),
            (
                "\n[rum]\nparallel = 5\n",
                "config.toml:2: unknown key `rum`",
            ),
            (
                "[run]\nparallel = \"x\"\n",
                "config.toml:2: run.parallel: \"x\" is no number",
            ),
            (
                "[run]\nparallel = 0\n",
                "config.toml:2: run.parallel: 0 is too small",
            ),
            ("[run\n", "config.toml:1: "),
            ("run = 1\n", "config.toml:1: `run` is a table"),
            (
                "[agents.a]\ndriver = \"x\"\n",
                "config.toml:2: agents.a: unknown variant `x`",
            ),
            (
                "[agents.a]\ndriver = \"opencode\"\nbad = 1\n",
                "config.toml:3: agents.a: unknown field `bad`",
            ),
            (
                "[agents.a]\ndriver = \"command\"\n",
                "config.toml:1: agents.a.command: ",
            ),
            (
                "[agents.\"../x\"]\ndriver = \"opencode\"\n",
                "config.toml:1: agents.../x: ",
            ),
            (
                "[[gates]]\nname = \"a\"\n",
                "config.toml:1: gate a: it needs `run`",
            ),
            (
                "[[gates]]\nname = \"a\"\nruns = \"x\"\n",
                "config.toml:3: gates: unknown field `runs`",
            ),
        ] {
            let error = load(text).map(|_| ()).unwrap_err();
            assert!(
                error.starts_with(&format!("error: {expected}")),
                "{text:?}: {error}"
            );
        }
    }
}
