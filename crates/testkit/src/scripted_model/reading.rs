//! Reading a scenario, and refusing what could only fail later, in the middle of a conversation.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::scenario::{Fault, Scenario, Script, Turn};

/// The longest wait that a scenario may ask for: past it a test hangs instead of failing.
const WAIT_MAX: Duration = Duration::from_hours(1);

/// Why a scenario was refused.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file could not be read.
    #[error("cannot read scenario `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is not the TOML of a scenario.
    #[error("scenario is not valid")]
    Toml(#[source] Box<toml::de::Error>),
    /// It is not the JSON of a scenario.
    #[error("scenario is not valid")]
    Json(#[source] serde_json::Error),
    /// It can be read, but cannot be played.
    #[error("scenario cannot be played: {0}")]
    Unplayable(String),
}

impl Scenario {
    /// Reads a scenario from TOML.
    ///
    /// # Errors
    /// Names the field that is unknown, missing or out of range.
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        toml::from_str::<Self>(text)
            .map_err(|source| ScenarioError::Toml(Box::new(source)))?
            .checked()
    }

    /// Reads a scenario from JSON.
    ///
    /// # Errors
    /// As [`Scenario::from_toml`].
    pub fn from_json(text: &str) -> Result<Self, ScenarioError> {
        serde_json::from_str::<Self>(text)
            .map_err(ScenarioError::Json)?
            .checked()
    }

    /// Reads a scenario file: JSON if it ends in `.json`, else TOML.
    ///
    /// # Errors
    /// As [`Scenario::from_toml`], or if the file cannot be read.
    pub fn from_file(path: &Path) -> Result<Self, ScenarioError> {
        let text = fs::read_to_string(path).map_err(|source| ScenarioError::Read {
            path: path.to_owned(),
            source,
        })?;
        if path.extension().is_some_and(|ending| ending == "json") {
            Self::from_json(&text)
        } else {
            Self::from_toml(&text)
        }
    }

    /// Refuses what could only fail later, in the middle of a conversation.
    ///
    /// # Errors
    /// [`ScenarioError::Unplayable`], naming script and turn.
    pub fn checked(self) -> Result<Self, ScenarioError> {
        let mut names = BTreeSet::new();
        for script in &self.scripts {
            if !names.insert(script.name.as_str()) {
                return Err(unplayable(script, None, "another script has this name"));
            }
            check_script(script)?;
        }
        Ok(self)
    }
}

fn check_script(script: &Script) -> Result<(), ScenarioError> {
    if script.name.is_empty() {
        return Err(unplayable(script, None, "`name` is empty"));
    }
    let needles = script.needles.as_slice();
    if needles.is_empty() || needles.iter().any(String::is_empty) {
        return Err(unplayable(script, None, "`match` is empty"));
    }
    if script.turns.is_empty() {
        return Err(unplayable(script, None, "`turns` is empty"));
    }
    for (index, turn) in script.turns.iter().enumerate() {
        check_turn(turn).map_err(|problem| unplayable(script, Some(index), problem))?;
    }
    Ok(())
}

fn check_turn(turn: &Turn) -> Result<(), &'static str> {
    let says_text = turn.text.as_deref().is_some_and(|text| !text.is_empty());
    if !says_text && turn.tools.is_empty() && !turn.never_answers() {
        return Err("has neither `text` nor `tools`, nor a fault with `times = \"always\"`");
    }
    if turn.tools.iter().any(|tool| tool.name.is_empty()) {
        return Err("a tool's `name` is empty");
    }
    if turn
        .tools
        .iter()
        .any(|tool| tool.raw_arguments.is_some() && !tool.arguments.is_empty())
    {
        return Err("a tool has both `arguments` and `raw_arguments`");
    }
    if turn.usage.is_some_and(|used| used.cached > used.prompt) {
        return Err("`usage.cached` is part of `usage.prompt` and cannot be greater");
    }
    if turn
        .usage
        .is_some_and(|used| used.reasoning > used.completion)
    {
        return Err("`usage.reasoning` is part of `usage.completion` and cannot be greater");
    }
    if Duration::from_millis(turn.delay_ms.max(turn.pace_ms)) > WAIT_MAX {
        return Err("`delay_ms` or `pace_ms` is more than an hour");
    }
    for fault in &turn.faults {
        if let Fault::Status { status, .. } = fault
            && !(400..=599).contains(status)
        {
            return Err("`status` is not between 400 and 599");
        }
    }
    Ok(())
}

fn unplayable(script: &Script, turn: Option<usize>, problem: &str) -> ScenarioError {
    let place = turn.map_or_else(String::new, |index| format!(" turn {index}"));
    ScenarioError::Unplayable(format!("script \"{}\"{place}: {problem}", script.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(toml: &str) -> String {
        let error = Scenario::from_toml(toml).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error} {}", source.unwrap_or_default())
    }

    #[test]
    fn unknown_fields_are_refused_at_every_level() {
        let turn = "[[scripts]]\nname='a'\nmatch='x'\n[[scripts.turns]]\ntext='t'\n";
        assert!(Scenario::from_toml(turn).is_ok());
        for extra in [
            "txt='t'",
            "usage={promt=1}",
            "faults=[{kind='status',status=429,retry=1}]",
            "faults=[{kind='drop-before',at='x'}]",
            "faults=[{kind='explode'}]",
            "tools=[{name='x',args={}}]",
        ] {
            let text = problem(&format!("{turn}{extra}\n"));
            assert!(text.contains("unknown"), "{extra}: {text}");
        }
    }

    #[test]
    fn what_cannot_be_played_names_its_script_and_turn() {
        let head = "[[scripts]]\nname='a'\nmatch='x'\n";
        for (rest, expected) in [
            ("turns=[{}]", "script \"a\" turn 0: has neither"),
            ("turns=[]", "`turns` is empty"),
            (
                "turns=[{text='x'},{text='x',usage={prompt=1,cached=2}}]",
                "turn 1: `usage.cached`",
            ),
            (
                "turns=[{text='x',faults=[{kind='status',status=200}]}]",
                "`status` is not between",
            ),
            ("turns=[{text='x',delay_ms=3600001}]", "more than an hour"),
        ] {
            let text = problem(&format!("{head}{rest}"));
            assert!(text.contains(expected), "{rest}: {text}");
        }
        assert!(problem("[[scripts]]\nname='a'\nmatch=[]\nturns=[{text='t'}]").contains("`match`"));
    }
}
