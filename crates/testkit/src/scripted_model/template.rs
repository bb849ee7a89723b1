//! Placeholders in what a script says.

use serde_json::{Map, Value};

/// The values that placeholders stand for.
#[derive(Debug)]
pub(super) struct Placeholders<'a> {
    /// `{{cwd}}`: the agent's working directory, if the request tells it.
    pub(super) directory: Option<&'a str>,
    /// `{{prompt}}`: the user message that the script matched.
    pub(super) prompt: &'a str,
    /// `{{session}}`: the client's name for the conversation, or one made from its beginning.
    pub(super) session: &'a str,
}

impl Placeholders<'_> {
    /// Fills the placeholders in one pass: a value is never searched for placeholders, and braces
    /// that are none of them stay.
    pub(super) fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("{{") {
            filled.push_str(&rest[..start]);
            let tail = &rest[start..];
            let (value, length) = self.value_at(tail)?;
            filled.push_str(value);
            rest = &tail[length..];
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// Fills every string in a JSON object; keys stay as they are.
    pub(super) fn fill_object(&self, object: &Map<String, Value>) -> Result<Value, String> {
        object
            .iter()
            .map(|(key, value)| Ok((key.clone(), self.fill_value(value)?)))
            .collect::<Result<Map<_, _>, String>>()
            .map(Value::Object)
    }

    fn fill_value(&self, value: &Value) -> Result<Value, String> {
        match value {
            Value::String(text) => self.fill(text).map(Value::String),
            Value::Array(items) => items.iter().map(|item| self.fill_value(item)).collect(),
            Value::Object(object) => self.fill_object(object),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(value.clone()),
        }
    }

    fn value_at(&self, tail: &str) -> Result<(&str, usize), String> {
        const MISSING: &str = "the script uses {{cwd}}, but no line of the system prompt begins \
                               with \"Working directory:\"";
        for (mark, value) in [
            ("{{cwd}}", self.directory.ok_or(MISSING)),
            ("{{prompt}}", Ok(self.prompt)),
            ("{{session}}", Ok(self.session)),
        ] {
            if tail.starts_with(mark) {
                return Ok((value?, mark.len()));
            }
        }
        Ok(("{", 1))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VALUES: Placeholders<'_> = Placeholders {
        directory: Some("/w"),
        prompt: "say {{cwd}}",
        session: "ses_1",
    };

    #[test]
    fn values_are_filled_once_and_other_braces_stay() {
        let filled = VALUES
            .fill("{{{cwd}}/a {{prompt}} {{session}} {{ cwd }} {{x}} {{")
            .unwrap();
        assert_eq!(filled, "{/w/a say {{cwd}} ses_1 {{ cwd }} {{x}} {{");
    }

    #[test]
    fn strings_are_filled_at_any_depth() {
        let object = json!({"a": ["{{cwd}}", {"b": "{{cwd}}/x"}], "n": 1});
        let filled = VALUES.fill_object(object.as_object().unwrap()).unwrap();
        assert_eq!(filled, json!({"a": ["/w", {"b": "/w/x"}], "n": 1}));
    }

    #[test]
    fn a_directory_that_is_not_known_is_an_error() {
        let values = Placeholders {
            directory: None,
            ..VALUES
        };
        assert!(
            values
                .fill("{{cwd}}")
                .unwrap_err()
                .contains("Working directory")
        );
        assert_eq!(values.fill("no need").unwrap(), "no need");
    }
}
