//! What a person does from end to end, each by the number that it has among the acceptance scenarios.

mod cleanup;
mod growth;
mod lives;
mod looking;
mod moving;
mod rollback;
mod together;
