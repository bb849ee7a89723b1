//! The log is proved, and what was done to it is named.

use std::{collections::HashMap, fs, path::PathBuf};

use api_types::{
    AuditExportDocument, AuditHeadDocument, AuditKeyDocument, AuditVerifyDocument, Body, Document,
    ProblemCode,
};
use rusqlite::Connection;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::place::{Place, Ran};

fn store(place: &Place) -> Connection {
    Connection::open(place.home().join("crewboss/crewboss.db")).unwrap()
}

fn heads_file(place: &Place) -> PathBuf {
    place.home().join("crewboss/audit/heads.jsonl")
}

/// A place with some history.
fn worked_in() -> Place {
    let place = Place::folder();
    place.start(&["writer", "one", "--key", "a"]);
    place.start(&["late7", "two", "--key", "b"]);
    place.run(&["run", "--wait", "a"]).ok();
    assert_eq!(place.run(&["run", "--wait", "b"]).code, 1);
    place
}

fn verify(place: &Place, more: &[&str]) -> Ran {
    let args: Vec<&str> = ["audit", "verify"].iter().chain(more).copied().collect();
    place.run(&args)
}

#[track_caller]
fn fault(ran: &Ran) -> (String, i64) {
    assert_eq!(ran.code, 1, "{ran:#?}");
    let document = ran.json();
    assert_eq!(document["whole"], false);
    assert_eq!(document["code"], ProblemCode::LogBroken.as_str());
    let fault = &document["fault"];
    let what = fault["what"].as_str().unwrap_or_default().to_owned();
    (what, fault["position"].as_i64().unwrap_or_default())
}

#[test]
fn a_log_is_whole_until_somebody_changes_it() {
    let place = worked_in();
    let shown = verify(&place, &[]).ok().out;
    assert!(shown.contains("The log is whole"), "{shown}");
    assert!(shown.contains("behind the last signed head"), "{shown}");
    let head = place.run(&["audit", "head", "--json"]).ok().json();
    let document = verify(&place, &["--json"]).ok().json();
    assert_eq!(document["vouched_to"], head["position"]);
    assert_eq!(document["last_position"], head["position"]);
    assert_eq!(document["notes"].as_array().unwrap().len(), 0);
    assert_eq!(document["unknown"], 0);

    let changed = "UPDATE events SET payload = replace(payload, 'one', 'two') WHERE position = 2";
    store(&place)
        .execute(
            &changed
                .replace("replace(payload", "CAST(replace(CAST(payload AS TEXT)")
                .replace("'two')", "'two') AS BLOB)"),
            [],
        )
        .unwrap();
    assert_eq!(
        fault(&verify(&place, &["--json"])),
        ("edited".to_owned(), 2)
    );
    let shown = verify(&place, &[]);
    assert_eq!(shown.code, 1);
    assert!(shown.out.contains("edited at position 2"), "{shown:#?}");
    let of_task = verify(&place, &["--stream", "a", "--json"]);
    assert_eq!(fault(&of_task), ("edited".to_owned(), 2));
    verify(&place, &["--stream", "b"]).ok();
}

#[test]
fn a_cut_tail_is_missed_by_the_head_that_was_signed_for_it() {
    let place = worked_in();
    let head = place.run(&["audit", "head", "--json"]).ok().json();
    let last = head["position"].as_i64().unwrap();
    store(&place)
        .execute("DELETE FROM events WHERE position > ?1", [last - 3])
        .unwrap();
    let ran = verify(&place, &["--json"]);
    assert_eq!(fault(&ran), ("truncated".to_owned(), last - 2));
    assert_eq!(ran.json()["fault"]["until"], last);
    fs::remove_file(heads_file(&place)).unwrap();
    let shown = verify(&place, &[]);
    assert!(shown.out.contains("no signed head"), "{shown:#?}");
    // The folder of the task still knows.
    let told = "inserted: the store does not know 3 events from here on";
    assert!(shown.code == 1 && shown.out.contains(told), "{shown:#?}");
    // All of it: the heads are still there to miss it.
    place.run(&["audit", "head"]).ok();
    fs::remove_file(place.home().join("crewboss/crewboss.db")).unwrap();
    for side in ["-wal", "-shm"] {
        drop(fs::remove_file(
            place.home().join(format!("crewboss/crewboss.db{side}")),
        ));
    }
    assert_eq!(
        fault(&verify(&place, &["--json"])),
        ("truncated".to_owned(), 1)
    );
}

#[test]
fn a_second_place_finds_what_was_taken_out_of_the_first() {
    let place = Place::folder();
    let second = place.home().join("elsewhere/heads.jsonl");
    let doctor = |place: &Place| {
        let checks = place.run(&["doctor", "--json"]).json()["checks"].clone();
        let audit = checks
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["check"] == "audit");
        audit.unwrap().clone()
    };
    assert_eq!(doctor(&place)["verdict"], "note");
    place.configure(&format!("[audit]\nheads = \"{}\"\n", second.display()));
    place.start(&["writer", "one", "--key", "a"]);
    place.run(&["run", "--wait"]).ok();
    place.run(&["audit", "head"]).ok();
    assert_eq!(
        fs::read(&second).unwrap(),
        fs::read(heads_file(&place)).unwrap()
    );
    let check = doctor(&place);
    assert_eq!(check["verdict"], "ok", "{check}");

    // The log, the key and the heads beside it are all written anew by somebody who may.
    let home = place.home().join("crewboss");
    for gone in [
        "crewboss.db",
        "crewboss.db-wal",
        "crewboss.db-shm",
        "audit",
        "keys",
    ] {
        let path = home.join(gone);
        drop(fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)));
    }
    place.start(&["writer", "another", "--key", "a"]);
    let ran = verify(&place, &["--json"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let bad = ran.json()["bad_heads"].clone();
    assert_eq!(bad[0]["why"], "its key is not vouched for", "{ran:#?}");
    assert_eq!(bad[0]["file"], second.display().to_string());

    fs::remove_dir_all(second.parent().unwrap()).unwrap();
    fs::write(second.parent().unwrap(), "in the way").unwrap();
    let ran = place.run(&["audit", "head"]).ok();
    assert!(ran.err.contains("second place"), "{ran:#?}");
    assert_eq!(doctor(&place)["verdict"], "problem");
}

#[test]
fn the_second_place_is_not_for_a_project_to_name() {
    let place = Place::folder();
    let folder = place.project().join(".crewboss");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.toml"), "[audit]\nheads = \"/tmp/x\"\n").unwrap();
    let ran = verify(&place, &[]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.err.contains("config.toml:2"), "{ran:#?}");
    let ran = place.run(&["audit", "head", "--config", "audit.heads=x/y"]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.err.contains("absolute"), "{ran:#?}");
}

#[test]
fn another_key_signs_and_the_heads_of_the_old_one_stay_good() {
    let place = worked_in();
    let first = place.run(&["audit", "head", "--json"]).ok().json();
    let rotated = place.run(&["audit", "rotate-key", "--json"]).ok().json();
    assert_eq!(rotated["retired"], first["key_id"]);
    let second = place.run(&["audit", "head", "--json"]).ok().json();
    assert_eq!(second["key_id"], rotated["key_id"]);
    let document = verify(&place, &["--json"]).ok().json();
    assert_eq!(document["keys"].as_array().unwrap().len(), 2);
    let export = place.run(&["audit", "export"]).ok().out;
    let last = export.lines().last().unwrap();
    assert!(last.contains("audit.key_rotated") && last.contains(first["key_id"].as_str().unwrap()));

    fs::remove_file(place.home().join("crewboss/keys/audit")).unwrap();
    let ran = place.run(&["audit", "head"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(
        ran.err.contains("is gone") && ran.err.contains("hint: "),
        "{ran:#?}"
    );
    // Without the key its heads are still held against the log.
    verify(&place, &[]).ok();
}

/// The formula of the documentation, and nothing of ours.
fn verify_by_hand(export: &str) -> usize {
    let unhex = |value: &Value| -> Vec<u8> {
        let digits = value.as_str().unwrap();
        (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect()
    };
    let mut lines = export
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut global = unhex(&lines.next().unwrap()["previous_global_hash"]);
    let mut streams: HashMap<String, Vec<u8>> = HashMap::new();
    let mut count = 0;
    for line in lines {
        let text = |name: &str| line[name].as_str().unwrap();
        let number = |value: &Value| value.as_u64().unwrap().to_be_bytes();
        let stream = line["stream"].to_string();
        let before = streams
            .remove(&stream)
            .unwrap_or_else(|| unhex(&line["previous_stream_hash"]));
        let content = Sha256::digest(text("payload"));
        let hash =
            Sha256::digest([&before, content.as_slice(), text("header").as_bytes()].concat());
        assert_eq!(hash.as_slice(), unhex(&line["stream_hash"]));
        let kind = line["stream"]["kind"].as_str().unwrap();
        let id: u64 = line["stream"]["id"].as_str().unwrap().parse().unwrap();
        let parts: [&[u8]; 7] = [
            &global,
            &number(&line["position"]),
            kind.as_bytes(),
            &[0],
            &id.to_be_bytes(),
            &number(&line["seq"]),
            &hash,
        ];
        global = Sha256::digest(parts.concat()).to_vec();
        assert_eq!(global, unhex(&line["global_hash"]));
        streams.insert(stream, hash.to_vec());
        count += 1;
    }
    count
}

#[test]
fn an_export_is_verified_by_anybody() {
    let place = worked_in();
    let export = place.run(&["audit", "export"]).ok().out;
    let entries = verify_by_hand(&export);
    let document = verify(&place, &["--json"]).ok().json();
    assert_eq!(document["entries"], entries);
    let part = place.run(&["audit", "export", "--since", "5"]).ok().out;
    assert_eq!(verify_by_hand(&part), entries - 4);
    let file = place.home().join("export.jsonl");
    let name = file.to_str().unwrap();
    let heads = heads_file(&place);
    let heads = heads.to_str().unwrap();
    place.run(&["audit", "head"]).ok();
    for text in [&export, &part] {
        fs::write(&file, text).unwrap();
        let document = verify(&place, &["--file", name, "--heads", heads, "--json"])
            .ok()
            .json();
        assert_eq!(document["vouched_to"], entries);
    }
    let of_task = ["audit", "export", "--stream", "a", "--out", name, "--json"];
    let printed = place.run(&of_task).ok().json();
    let exported = fs::read_to_string(&file).unwrap();
    assert_eq!(printed["entries"], exported.lines().count() - 1);
    verify(&place, &["--file", name]).ok();

    let wrong = export.replacen("tester", "nobody", 1);
    fs::write(&file, &wrong).unwrap();
    assert_eq!(
        fault(&verify(&place, &["--file", name, "--json"])),
        ("edited".to_owned(), 1)
    );
    let cut: Vec<&str> = export.lines().take(entries - 1).collect();
    fs::write(&file, cut.join("\n")).unwrap();
    verify(&place, &["--file", name]).ok();
    let ran = verify(&place, &["--file", name, "--heads", heads, "--json"]);
    assert_eq!(fault(&ran).0, "truncated");
    let torn = &export[..export.len() - 9];
    fs::write(&file, torn).unwrap();
    let ran = verify(&place, &["--file", name, "--json"]);
    assert_eq!(
        fault(&ran),
        ("edited".to_owned(), i64::try_from(entries).unwrap())
    );
}

#[test]
fn what_cannot_be_verified_is_said() {
    let place = Place::folder();
    verify(&place, &[]).ok();
    assert_eq!(place.run(&["audit", "head"]).code, 4);
    assert_eq!(place.run(&["audit", "export"]).code, 4);
    place.start(&["writer", "one"]);
    for (args, code) in [
        (&["verify", "--stream", "ses_5"][..], 3),
        (&["verify", "--stream", "nothing"], 3),
        (&["verify", "--stream", "a/b"], 2),
        (&["verify", "--file", "/no/such/file"], 3),
        (&["verify", "--file", "/dev/null"], 2),
        (&["verify", "--heads", "/no/such/file"], 3),
        (&["export", "--since", "0"], 2),
        (&["export", "--since", "99"], 2),
        (&["export", "--stream", "task_5"], 3),
        (&["export", "--out", "/no/such/folder/x"], 5),
    ] {
        let args: Vec<&str> = ["audit"].iter().chain(args).copied().collect();
        let ran = place.run(&args);
        assert_eq!(ran.code, code, "{args:?}: {ran:#?}");
        assert!(ran.err.starts_with("error: "), "{args:?}: {ran:#?}");
    }
}

#[test]
fn many_who_sign_at_once_leave_whole_heads() {
    let place = Place::folder();
    let children: Vec<_> = (0..12)
        .map(|number| {
            let key = format!("k{number}");
            let args = [
                "start",
                "writer",
                "x",
                "--key",
                &key,
                "--config",
                "audit.head_events=1",
            ];
            place.command(args).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
    }
    let document = verify(&place, &["--json"]).ok().json();
    assert_eq!(document["keys"].as_array().unwrap().len(), 1);
    assert!(document["heads"].as_u64().unwrap() >= 1);
    // One that was killed while it wrote.
    let file = heads_file(&place);
    let torn = fs::read_to_string(&file).unwrap() + "{\"v\":1,\"position\":9,\"glob";
    fs::write(&file, torn).unwrap();
    place.start(&["writer", "y", "--config", "audit.head_events=1"]);
    let document = verify(&place, &["--json"]).ok().json();
    assert_eq!(document["vouched_to"], document["last_position"]);
    assert!(
        document["notes"][0].as_str().unwrap().contains("cut off"),
        "{document}"
    );
}

#[test]
fn every_document_is_of_its_type() {
    #[track_caller]
    fn typed<T: Body + serde::Serialize + serde::de::DeserializeOwned>(ran: &Ran) -> T {
        let document: Document<T> = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(document.schema, T::SCHEMA);
        assert_eq!(serde_json::to_value(&document).unwrap(), ran.json());
        document.body
    }
    let place = worked_in();
    let head: AuditHeadDocument = typed(&place.run(&["audit", "head", "--json"]).ok());
    assert_eq!(head.files, [heads_file(&place)]);
    let key: AuditKeyDocument = typed(&place.run(&["audit", "rotate-key", "--json"]).ok());
    assert_eq!(key.retired, head.key_id);
    let verified: AuditVerifyDocument = typed(&verify(&place, &["--json"]).ok());
    assert_eq!(verified.last_position, head.position + 1);
    let out = place.home().join("x.jsonl");
    let args = ["audit", "export", "--json", "--out", out.to_str().unwrap()];
    let exported: AuditExportDocument = typed(&place.run(&args).ok());
    assert_eq!(exported.entries, verified.entries);
}
