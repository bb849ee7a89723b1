//! A store whose answers may get lost, and before which and after which its callers may die.

use std::sync::Arc;

use app::{
    command::Request,
    error::Error,
    ports::store::{Answer, Store},
    query::{Query, View},
};

use super::fate::Fate;
use crate::contract::Subject;

#[derive(Debug)]
pub(super) struct FatefulStore {
    pub(super) store: Arc<dyn Subject>,
    pub(super) fate: Arc<Fate>,
}

impl Store for FatefulStore {
    fn submit(&self, request: Request, answer: Answer) {
        let refused = |error: std::io::Error| Error::unavailable(error.to_string());
        answer(self.fate.act(refused, || self.store.execute(request)));
    }

    fn read(&self, query: &Query) -> Result<View, Error> {
        self.store.read(query)
    }

    fn generation(&self) -> Result<u64, Error> {
        self.store.generation()
    }
}
