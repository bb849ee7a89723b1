//! The last overview that was asked for, as it was answered: people and their tools ask for it
//! again and again while nothing changes.

use std::sync::{Arc, Mutex, PoisonError};

use app::{error::Error, ports::store::Store, query::Query};

/// Remembers one answer for as long as the store stays as it is.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Option<Remembered>>);

#[derive(Debug)]
struct Remembered {
    query: Query,
    /// The store's generation before it was read: whatever was committed since makes another one.
    generation: u64,
    answer: Arc<[u8]>,
}

impl Memory {
    /// The bytes that answer a query: those of the last time where nothing was committed since.
    pub(crate) fn answer(
        &self,
        store: &dyn Store,
        query: &Query,
        read: impl FnOnce() -> Result<Vec<u8>, Error>,
    ) -> Result<Arc<[u8]>, Error> {
        let generation = store.generation()?;
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*remembered
            && last.generation == generation
            && last.query == *query
        {
            return Ok(Arc::clone(&last.answer));
        }
        let answer: Arc<[u8]> = read()?.into();
        *remembered = Some(Remembered {
            query: query.clone(),
            generation,
            answer: Arc::clone(&answer),
        });
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use app::command::Command;
    use sandbox_host::SystemClock;
    use store_sqlite::SqliteStore;
    use testkit::contract::world::request;

    use super::*;

    fn overview(root: &str) -> Query {
        Query::Overview {
            root: root.to_owned(),
            limit: 1,
            node: None,
        }
    }

    #[test]
    fn an_answer_holds_until_something_is_committed_or_something_else_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock::new().unwrap());
        let path = dir.path().join("store.db");
        let store = SqliteStore::open(&path, clock.clone()).unwrap();
        let memory = Memory::default();
        let ask = |root: &str, says: &str| {
            let read = || Ok(says.as_bytes().to_vec());
            let answer = memory.answer(&store, &overview(root), read).unwrap();
            String::from_utf8(answer.to_vec()).unwrap()
        };
        let register = |root: &str| {
            let (root, name) = (root.to_owned(), root.to_owned());
            let another = SqliteStore::open(&path, clock.clone()).unwrap();
            another
                .execute(request(Command::RegisterProject { root, name }))
                .unwrap();
        };
        register("/a");
        assert_eq!(ask("/a", "first"), "first");
        assert_eq!(ask("/a", "not read"), "first");
        register("/b");
        assert_eq!(ask("/a", "second"), "second");
        assert_eq!(ask("/b", "of b"), "of b");
        assert_eq!(ask("/a", "third"), "third");
    }
}
