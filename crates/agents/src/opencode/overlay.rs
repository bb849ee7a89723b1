//! Our settings, laid over the user's by environment variables and never written to a project.

use app::ports::agents::AgentRequest;
use domain::agent::PermissionMode;
use serde_json::{Map, Value, json};

use super::definition::{Definition, Mode};

/// Permissions for which `OpenCode` takes one word and no patterns.
const WITHOUT_PATTERNS: &[&str] = &[
    "doom_loop",
    "question",
    "todowrite",
    "webfetch",
    "websearch",
];

/// An entry of the deny list that `OpenCode` would refuse.
pub(super) fn bad_entry(entries: &[String]) -> Option<&String> {
    entries.iter().find(|entry| {
        let (name, pattern) = entry.split_once(':').unwrap_or((entry, "*"));
        name.is_empty()
            || pattern.is_empty()
            || (pattern != "*" && WITHOUT_PATTERNS.contains(&name))
    })
}

/// What is asked of the models and the machine, whatever the user's configuration says: no
/// updates or sharing in the middle of a session, and no second history beside Crewboss's own.
pub(super) fn content(agent: Option<(&str, &Definition)>, permission: &Value) -> Value {
    let mut content = json!({"autoupdate": false, "share": "disabled", "snapshot": false});
    if let Some((name, definition)) = agent {
        let mut settings = json!({"permission": permission});
        if definition.mode == Mode::Other {
            settings["mode"] = json!("all");
        }
        content["agent"] = json!({name: settings});
    }
    content
}

/// The rules that hold for every agent; among the patterns of one permission the last that
/// matches decides.
pub(super) fn permission(request: &AgentRequest) -> Value {
    let outside = match request.config.permission.unwrap_or_default() {
        PermissionMode::Auto => "deny",
        PermissionMode::Reject => "ask",
    };
    let mut folders = Map::new();
    folders.insert("*".to_owned(), json!(outside));
    for folder in own_folders(request) {
        folders.insert(format!("{folder}/*"), json!("allow"));
    }
    let mut rules = Map::new();
    rules.insert("external_directory".to_owned(), Value::Object(folders));
    rules.insert("doom_loop".to_owned(), json!("deny"));
    for entry in &request.config.deny {
        deny(&mut rules, entry);
    }
    Value::Object(rules)
}

/// Our rules after the user's, so that they decide. Folders outside are ours alone to allow.
pub(super) fn over(user: Value, ours: &Value) -> Value {
    let mut rules = match user {
        Value::Object(rules) => rules,
        Value::Null => Map::new(),
        word => Map::from_iter([("*".to_owned(), word)]),
    };
    for (name, rule) in ours.as_object().into_iter().flatten() {
        let below = rules.shift_remove(name);
        let Value::Object(rule) = rule else {
            rules.insert(name.clone(), rule.clone());
            continue;
        };
        let mut patterns = match below {
            _ if name == "external_directory" => Map::new(),
            Some(Value::Object(patterns)) => patterns,
            Some(word) => Map::from_iter([("*".to_owned(), word)]),
            None => Map::new(),
        };
        for (pattern, action) in rule {
            patterns.shift_remove(pattern);
            patterns.insert(pattern.clone(), action.clone());
        }
        rules.insert(name.clone(), Value::Object(patterns));
    }
    Value::Object(rules)
}

/// The session's own folder, and those of the files that it is told to write.
fn own_folders(request: &AgentRequest) -> Vec<String> {
    let directory = crate::command::directory(request);
    let told = [&request.plan_file, &request.sentinels.done];
    let mut folders = vec![request.session_dir.to_string_lossy().into_owned()];
    for file in told {
        let file = directory.join(file);
        let folder = file
            .parent()
            .filter(|folder| !folder.starts_with(&request.workspace));
        if let Some(folder) = folder.map(|folder| folder.to_string_lossy().into_owned())
            && !folders.contains(&folder)
        {
            folders.push(folder);
        }
    }
    folders
}

/// `webfetch`, or `bash:git push*` for a pattern.
fn deny(rules: &mut Map<String, Value>, entry: &str) {
    let (name, pattern) = entry.split_once(':').unwrap_or((entry, "*"));
    if WITHOUT_PATTERNS.contains(&name) {
        rules.insert(name.to_owned(), json!("deny"));
        return;
    }
    match rules.get_mut(name) {
        Some(Value::Object(patterns)) => {
            patterns.shift_remove(pattern);
            patterns.insert(pattern.to_owned(), json!("deny"));
        }
        _ => {
            rules.insert(name.to_owned(), json!({pattern: "deny"}));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_rules_come_last() {
        let user = json!({"external_directory": {"/x/*": "allow"}, "bash": "ask", "*": "allow"});
        let ours =
            json!({"external_directory": {"*": "deny"}, "bash": {"rm *": "deny"}, "x": "deny"});
        assert_eq!(
            over(user, &ours).to_string(),
            r#"{"*":"allow","external_directory":{"*":"deny"},"bash":{"*":"ask","rm *":"deny"},"x":"deny"}"#
        );
        assert_eq!(
            over(json!("allow"), &json!({})).to_string(),
            r#"{"*":"allow"}"#
        );
    }

    #[test]
    fn a_deny_list_has_names_and_patterns() {
        let mut rules = Map::new();
        let entries = ["webfetch", "bash:git push*", "bash:rm -rf *"];
        assert_eq!(bad_entry(&entries.map(str::to_owned)), None);
        for bad in ["webfetch:https://*", ":x", "bash:", ""] {
            assert!(bad_entry(&[bad.to_owned()]).is_some(), "{bad}");
        }
        for entry in entries {
            deny(&mut rules, entry);
        }
        assert_eq!(
            Value::Object(rules),
            json!({
                "webfetch": "deny",
                "bash": {"git push*": "deny", "rm -rf *": "deny"},
            })
        );
    }
}
