//! `state.json`: a task as the store has it, with a checksum.
//!
//! The checksum is the SHA-256 of the document's canonical bytes: the document without its member
//! `checksum`, as JSON without white space, the members of every object in the order of their
//! names' bytes, numbers and texts as `serde_json` writes them.

use app::ports::folders::FolderError;
use domain::task::{Task, TaskStatus};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    dir::{Dir, failed},
    folders::{SCHEMA_VERSION, STATE},
};

const SCHEMA: &str = "crewboss.task";
const CHECKSUM: &str = "checksum";

/// More than any task is.
const IMAGE_MAX: usize = 64 << 20;

#[derive(Serialize)]
struct Image<'a> {
    schema: &'static str,
    schema_version: u32,
    checksum: &'a str,
    status: TaskStatus,
    agent: &'a str,
    prompt: &'a str,
    #[serde(flatten)]
    task: &'a Task,
}

/// The document of a task.
pub(crate) fn document(task: &Task, folder: &Dir) -> Result<Vec<u8>, FolderError> {
    let image = |checksum| Image {
        schema: SCHEMA,
        schema_version: SCHEMA_VERSION,
        checksum,
        status: task.status(),
        agent: task.spec.agent.as_str(),
        prompt: &task.spec.prompt,
        task,
    };
    let unwritable =
        |error: serde_json::Error| failed("write", folder.path().join(STATE), error.into());
    let value = serde_json::to_value(image("")).map_err(unwritable)?;
    crate::folders::pretty(&image(&checksum(&value)), folder, STATE)
}

/// The task that a document shows; or what is wrong with it.
pub(crate) fn parse(content: &[u8]) -> Result<Task, String> {
    if content.len() > IMAGE_MAX {
        return Err(format!("it is longer than {IMAGE_MAX} bytes"));
    }
    let value: Value =
        serde_json::from_slice(content).map_err(|error| format!("it is no JSON: {error}"))?;
    if value["schema"] != SCHEMA {
        return Err("it is no image of a task".to_owned());
    }
    let Some(said) = value[CHECKSUM].as_str() else {
        return Err("it has no checksum".to_owned());
    };
    if said != checksum(&value) {
        return Err("its content does not have its checksum".to_owned());
    }
    serde_json::from_value(value).map_err(|error| format!("it shows no task: {error}"))
}

/// In hexadecimal digits.
fn checksum(document: &Value) -> String {
    let mut canonical = Vec::new();
    if let Value::Object(fields) = document {
        let fields = fields.iter().filter(|(name, _)| *name != CHECKSUM);
        object(fields, &mut canonical);
    }
    app::hex::hex(&Sha256::digest(canonical))
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(fields) => object(fields.iter(), out),
        Value::Array(items) => {
            out.push(b'[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.extend_from_slice(value.to_string().as_bytes());
        }
    }
}

fn object<'v>(fields: impl Iterator<Item = (&'v String, &'v Value)>, out: &mut Vec<u8>) {
    let mut fields: Vec<_> = fields.collect();
    fields.sort_by_key(|(name, _)| name.as_bytes());
    out.push(b'{');
    for (number, (name, value)) in fields.into_iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        out.extend_from_slice(Value::String(name.clone()).to_string().as_bytes());
        out.push(b':');
        write(value, out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_members_and_white_space_do_not_matter() {
        let one = r#"{"b": [1, {"d":null,"c":"ä\n"}], "a": true}"#;
        let one: Value = serde_json::from_str(one).unwrap();
        let other = r#"{"checksum":"x","a":true,"b":[1,{"c":"ä\n","d":null}]}"#;
        let other: Value = serde_json::from_str(other).unwrap();
        assert_eq!(checksum(&one), checksum(&other));
        let canonical = "{\"a\":true,\"b\":[1,{\"c\":\"ä\\n\",\"d\":null}]}";
        let documented = app::hex::hex(&Sha256::digest(canonical));
        assert_eq!(checksum(&one), documented);
    }
}
