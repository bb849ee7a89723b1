//! Placeholders, filled in one pass: inserted text is never looked at again.

/// The values behind the names.
pub(crate) type Values<'a> = [(&'a str, &'a str)];

/// Fills `{name}` where the name is known and leaves everything else, braces included, as it is.
/// For command-line arguments, which are full of braces that mean something else.
pub(crate) fn fill_known(text: &str, values: &Values<'_>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        let behind = &rest[open + 1..];
        let known = values.iter().find_map(|(name, value)| {
            let after = behind.strip_prefix(name)?.strip_prefix('}')?;
            Some((value, after))
        });
        if let Some((value, after)) = known {
            out.push_str(value);
            rest = after;
        } else {
            out.push('{');
            rest = behind;
        }
    }
    out.push_str(rest);
    out
}

/// Why a prompt template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("unknown variable `{{{0}}}`")]
    Unknown(String),
    #[error("a single `{{`; write `{{{{` for a brace")]
    StrayOpen,
    #[error("a single `}}`; write `}}}}` for a brace")]
    StrayClose,
}

/// Fills every `{name}` of a prompt template; `{{` and `}}` are braces.
pub(crate) fn fill_all(template: &str, values: &Values<'_>) -> Result<String, TemplateError> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = rest.as_bytes()[at];
        let behind = &rest[at + 1..];
        if behind.as_bytes().first() == Some(&brace) {
            out.push(char::from(brace));
            rest = &behind[1..];
            continue;
        }
        if brace == b'}' {
            return Err(TemplateError::StrayClose);
        }
        let end = behind
            .find(['{', '}'])
            .filter(|end| behind.as_bytes()[*end] == b'}');
        let name = &behind[..end.ok_or(TemplateError::StrayOpen)?];
        let value = values.iter().find(|(known, _)| *known == name);
        out.push_str(
            value
                .ok_or_else(|| TemplateError::Unknown(name.to_owned()))?
                .1,
        );
        rest = &behind[name.len() + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALUES: &Values<'_> = &[("taskId", "task_1"), ("agent", "{taskId}")];

    #[test]
    fn arguments_keep_what_is_unknown() {
        for (text, filled) in [
            ("{taskId}", "task_1"),
            ("a{agent}b{taskId}", "a{taskId}btask_1"),
            ("{{taskId}}", "{task_1}"),
            ("{x} ${HOME} { } {taskId", "{x} ${HOME} { } {taskId"),
            ("{\"a\":\"{taskId}\"}", "{\"a\":\"task_1\"}"),
            ("", ""),
        ] {
            assert_eq!(fill_known(text, VALUES), filled);
        }
    }

    #[test]
    fn templates_are_strict() {
        for (text, filled) in [
            ("do {taskId} {{x}} {agent}", Ok("do task_1 {x} {taskId}")),
            ("{{{taskId}}}", Ok("{task_1}")),
            ("{nope}", Err(TemplateError::Unknown("nope".to_owned()))),
            ("{}", Err(TemplateError::Unknown(String::new()))),
            ("a { b", Err(TemplateError::StrayOpen)),
            ("a {b{taskId}", Err(TemplateError::StrayOpen)),
            ("a } b", Err(TemplateError::StrayClose)),
        ] {
            assert_eq!(fill_all(text, VALUES), filled.map(str::to_owned), "{text}");
        }
    }

    proptest! {
        /// Whatever the user's text holds, it arrives as it was.
        #[test]
        fn inserted_text_is_never_read_again(prompt in "[{}a-z$%\\\\ \"\n]{0,40}|(\\{(taskId|prompt|agent)\\}){1,3}") {
            let values: &Values<'_> = &[("prompt", &prompt), ("taskId", "T"), ("agent", "A")];
            prop_assert_eq!(fill_known("<{prompt}|{taskId}>", values), format!("<{prompt}|T>"));
            prop_assert_eq!(
                fill_all("<{prompt}|{agent}>", values).unwrap(),
                format!("<{prompt}|A>")
            );
        }

        #[test]
        fn no_template_panics(text in "[{}a-z\u{e9}]{0,20}") {
            let _known = fill_known(&text, VALUES);
            let _all = fill_all(&text, VALUES);
        }
    }
}
