//! Verifying the whole log, beside reading the same rows and hashing the same bytes once.

use std::path::Path;

use app::{
    audit::{self, Beginning},
    ports::store::Store as _,
};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};
use store_sqlite::SqliteLog;
use testkit::contract::world::{create_command, request, work};

use crate::{
    Done, Place,
    measure::{middle, timed, together},
};

const CALLERS: usize = 100;
const CREATES: usize = 2_000;
const ROUNDS: usize = 5;

pub(crate) fn rows(folder: &Path) -> Done<serde_json::Value> {
    let place = Place::new(folder)?;
    let path = place.path("store.db");
    {
        let (store, project) = place.store()?;
        together(CALLERS, CREATES, || {
            store.execute(request(create_command(project, work("work"))))?;
            Ok(())
        })?;
    }
    let (mut ours, mut raw, mut bytes) = (vec![], vec![], 0);
    for _ in 0..ROUNDS {
        let hash = || {
            bytes = read_and_hash(&path)?;
            Ok(())
        };
        raw.push(timed(hash)?.as_secs_f64());
        let verify = || match audit::verify(
            &SqliteLog::open(&path)?,
            Beginning::default(),
            &[],
            &mut |_| (),
        )?
        .fault
        {
            None => Ok(()),
            Some(fault) => Err(format!("{fault:?}").into()),
        };
        ours.push(timed(verify)?.as_secs_f64());
    }
    let rate = |times| -> Done<f64> { Ok(f64::from(u32::try_from(bytes)?) / 1e6 / middle(times)?) };
    Ok(serde_json::json!({ "verify_mb_per_second": rate(ours)?, "raw_mb_per_second": rate(raw)? }))
}

/// Answers how many bytes.
fn read_and_hash(path: &Path) -> Done<usize> {
    let connection = Connection::open(path)?;
    let mut statement =
        connection.prepare("SELECT header, payload FROM events ORDER BY position")?;
    let mut rows = statement.query([])?;
    let (mut bytes, mut previous) = (0, [0; 32]);
    while let Some(row) = rows.next()? {
        let (header, payload) = (row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        let mut hash = Sha256::new();
        hash.update(previous);
        hash.update(header);
        hash.update(payload);
        previous = hash.finalize().into();
        bytes += header.len() + payload.len();
    }
    drop(std::hint::black_box(previous.to_vec()));
    Ok(bytes)
}
