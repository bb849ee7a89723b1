//! Prompt templates in files, and what becomes of those that cannot be used.

use std::fs;

use testkit::poll::poll_until;

use super::{PATIENCE, Queue, in_both};

in_both![
    a_file_knows_five_variables,
    a_file_wins_over_an_inline_template,
    templates_that_cannot_be_used,
];

fn list(queue: &Queue, name: &str, more: &serde_json::Value) {
    let mut entry = serde_json::json!({ "command": "printf", "args": ["[%s]\\n", "{prompt}"] });
    for (key, value) in more.as_object().unwrap() {
        entry[key] = value.clone();
    }
    queue.list(name, entry);
}

#[track_caller]
fn until_logged(queue: &Queue, id: &str, text: &str) {
    let logged = poll_until(PATIENCE, || queue.log(id).contains(text));
    assert!(logged, "{text} / {}", queue.log(id));
}

fn a_file_knows_five_variables(queue: &Queue) {
    let template = "{taskId}|{userPrompt}|{planFile}|{logFile}|{agent}|{{x}}";
    fs::write(queue.file("five.txt"), template).unwrap();
    list(
        queue,
        "five",
        &serde_json::json!({ "promptTemplateFile": "five.txt" }),
    );
    let id = queue.launch(&["five", "say {taskId} }{"]);
    let [plan, log] = ["plans", "logs"].map(|folder| queue.path(folder));
    let said = format!(
        "[{id}|say {{taskId}} }}{{|{}/{id}_plan.md|{}/{id}.log|five|{{x}}]\n",
        plan.display(),
        log.display()
    );
    until_logged(queue, &id, &said);
}

fn a_file_wins_over_an_inline_template(queue: &Queue) {
    fs::write(queue.file("file.txt"), "from the file").unwrap();
    let both = serde_json::json!({
        "promptTemplateFile": "file.txt", "promptTemplate": "from the entry",
    });
    list(queue, "both", &both);
    let id = queue.launch(&["both", "x"]);
    until_logged(queue, &id, "[from the file]\n");
}

fn templates_that_cannot_be_used(queue: &Queue) {
    for (name, template) in [
        ("unknown", Some("a {nope} b")),
        ("open", Some("a { b")),
        ("close", Some("a } b")),
        ("missing", None),
    ] {
        let file = format!("{name}.txt");
        if let Some(template) = template {
            fs::write(queue.file(&file), template).unwrap();
        }
        list(
            queue,
            name,
            &serde_json::json!({ "promptTemplateFile": file }),
        );
        let id = queue.launch(&[name, "go"]);
        let base = queue.base;
        until_logged(
            queue,
            &id,
            &format!(
                "[Your Task ID is {id}. Task: go. Signal completion by creating \
                 {base}/tasks/{id}.done]\n"
            ),
        );
        let warned = poll_until(PATIENCE, || {
            let shown = queue.run(&["show", &id, "--json"]).ok().json();
            let warnings = shown["session"]["warnings"].to_string();
            warnings.contains(&file) && warnings.contains("the basic prompt is used")
        });
        assert!(warned, "{name}: {:#?}", queue.run(&["show", &id]));
    }
}
