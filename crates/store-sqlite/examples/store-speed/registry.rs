//! Looking at a registry with 10,000 and with 1,000,000 tasks.

use std::path::Path;

use app::{
    ports::store::Store as _,
    query::{Query, TaskFilter},
};
use domain::id::{ProjectId, TaskId};
use store_sqlite::SqliteStore;
use testkit::contract::world::{create_command, request, work};

use crate::{Done, Place, fill, measure::p99};

const SMALL: u64 = 10_000;
const LARGE: u64 = 1_000_000;
const PAGE: usize = 50;
const LOOKS: usize = 1_000;
const ROUNDS: usize = 5;

pub(crate) fn rows(folder: &Path) -> Done<serde_json::Value> {
    let (small, large) = (Registry::new(folder, SMALL)?, Registry::new(folder, LARGE)?);
    let mut measured = serde_json::Map::new();
    for (name, look) in Registry::LOOKS {
        let (mut times_small, mut times_large) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            times_small.push(p99(LOOKS, |run| look(&small, run))?.as_secs_f64() * 1e6);
            times_large.push(p99(LOOKS, |run| look(&large, run))?.as_secs_f64() * 1e6);
        }
        measured.insert(
            format!("{name}_small_us"),
            crate::measure::middle(times_small)?.into(),
        );
        measured.insert(
            format!("{name}_large_us"),
            crate::measure::middle(times_large)?.into(),
        );
    }
    measured.insert("bytes_per_task".to_owned(), large.bytes_per_task()?.into());
    measured.insert(
        "bytes_asked_for".to_owned(),
        large.bytes_asked_for()?.into(),
    );
    Ok(measured.into())
}

struct Registry {
    place: Place,
    store: SqliteStore,
    project: ProjectId,
    tasks: u64,
    first: u64,
}

type Look = fn(&Registry, usize) -> Done<()>;

impl Registry {
    const LOOKS: [(&str, Look); 4] = [
        ("newest", Self::newest),
        ("random_page", Self::random_page),
        ("counts", Self::counts),
        ("overview", Self::overview),
    ];

    fn new(folder: &Path, tasks: u64) -> Done<Self> {
        let place = Place::new(folder)?;
        let first = {
            let (store, project) = place.store()?;
            let created = store.execute(request(create_command(project, work("work"))))?;
            let app::command::Output::Task { task, .. } = created.output else {
                return Err("creating answers a task".into());
            };
            task.id.number() - tasks
        };
        fill::ended(&place.path("store.db"), tasks)?;
        let (store, project) = place.store()?;
        Ok(Self {
            place,
            store,
            project,
            tasks,
            first,
        })
    }

    fn page(&self, newest_first: bool, after: Option<TaskId>) -> Done<()> {
        let filter = TaskFilter {
            project: Some(self.project),
            newest_first,
            after,
            ..TaskFilter::default()
        };
        self.store.read(&Query::Tasks {
            filter,
            limit: PAGE,
        })?;
        Ok(())
    }

    fn newest(&self, _run: usize) -> Done<()> {
        self.page(true, None)
    }

    /// Pages that lie scattered, the same ones in every round.
    fn random_page(&self, run: usize) -> Done<()> {
        let step = u64::try_from(run)?.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.page(false, TaskId::from_number(self.first + step % self.tasks))
    }

    fn counts(&self, _run: usize) -> Done<()> {
        let project = self.project;
        self.store.read(&Query::Counts { project })?;
        Ok(())
    }

    fn overview(&self, _run: usize) -> Done<()> {
        self.store.read(&Query::Overview {
            root: "/project".to_owned(),
            limit: PAGE,
            node: None,
        })?;
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "some hundred millions")]
    fn bytes_per_task(&self) -> Done<f64> {
        let bytes = std::fs::metadata(self.place.path("store.db"))?.len();
        Ok(bytes as f64 / self.tasks as f64)
    }

    /// What was asked for of one task, as it is stored.
    fn bytes_asked_for(&self) -> Done<f64> {
        let connection = rusqlite::Connection::open(self.place.path("store.db"))?;
        let sql = "SELECT avg(length(spec)) FROM specs";
        Ok(connection.query_row(sql, [], |row| row.get(0))?)
    }
}
