//! Creating and claiming, beside one synced append.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

use app::ports::store::Store as _;
use domain::id::ProjectId;
use store_sqlite::SqliteStore;
use testkit::contract::world::{claim_command, create_command, request, starts, work};

use crate::{
    Done, Place,
    measure::{median, together},
};

/// Callers, and requests of each.
const CALLERS: usize = 100;
const CREATES: usize = 100;
const CLAIMS: usize = 50;

pub(crate) fn rows(folder: &Path) -> Done<serde_json::Value> {
    let place = Place::new(folder)?;
    let file = File::create(place.path("append"))?;
    let mut append_at = 0;
    let append = median(|| {
        file.write_all_at(&[7; 4096], append_at)?;
        append_at += 4096;
        Ok(file.sync_data()?)
    })?;
    let (store, project) = place.store()?;
    let create = median(|| {
        store.execute(request(create_command(project, work("work"))))?;
        Ok(())
    })?;
    let creates = together(CALLERS, CREATES, || creates_one(&store, project))?;
    let claims = together(CALLERS, CLAIMS, || claims_one(&store, project))?;
    Ok(serde_json::json!({
        "append_us": append.as_secs_f64() * 1e6,
        "append_per_second": 1.0 / append.as_secs_f64(),
        "create_us": create.as_secs_f64() * 1e6,
        "creates_per_second": creates,
        "claims_per_second": claims,
    }))
}

fn creates_one(store: &SqliteStore, project: ProjectId) -> Done<()> {
    store.execute(request(create_command(project, work("work"))))?;
    Ok(())
}

fn claims_one(store: &SqliteStore, project: ProjectId) -> Done<()> {
    store.execute(request(claim_command(project, starts(1))))?;
    Ok(())
}
