//! `import FILE`: an archive made by `export`, into a store that holds nothing else under its ids.

use std::path::Path;

use api_types::ImportArchiveDocument;
use app::{
    error::Error,
    restore::{Restored, Source, restore},
};

use crate::{
    context::Context,
    fail::{Exit, Outcome},
    heads, rebuild,
    render::count,
};

pub(super) fn run(context: &Context, file: &Path) -> Outcome {
    crate::cli::history::refuse_layout(context)?;
    let contents = archive::read(file)?;
    let source = Source {
        heads: heads::trusted(context)?,
        ..contents.source
    };
    let meta = context.meta();
    // Whoever holds what it would be refused over finds nothing changed.
    context.store()?;
    let store = context.direct()?;
    let restored = store.transact(|tx| {
        let restored = restore(tx, &source, &meta)?;
        refuse_left(&restored)?;
        Ok(restored)
    })?;
    drop(store);
    rebuild::after(context, &restored)?;
    let out = &context.out;
    if restored.events == 0 {
        out.line(format_args!(
            "{} holds nothing that is not here already ({})",
            file.display(),
            count(
                usize::try_from(restored.known).unwrap_or(usize::MAX),
                "event"
            )
        ))?;
    } else {
        out.line(format_args!(
            "Imported {}, {} and {} from {}",
            count(restored.projects.len(), "project"),
            count(restored.tasks.len(), "task"),
            count(
                usize::try_from(restored.events).unwrap_or(usize::MAX),
                "event"
            ),
            file.display()
        ))?;
    }
    out.print(&ImportArchiveDocument {
        file: file.to_owned(),
        projects: restored.projects,
        tasks: restored.tasks,
        events: restored.events,
        known: restored.known,
    })?;
    Ok(Exit::Ok)
}

/// An archive is taken in whole or not at all.
fn refuse_left(restored: &Restored) -> Result<(), Error> {
    let Some(first) = restored.left.first() else {
        return Ok(());
    };
    let message = format!(
        "event {} of {}: {} ({} such places)",
        first.seq,
        first.stream,
        first.why,
        restored.left.len()
    );
    Err(if first.is_conflict {
        Error::Exists {
            what: "something else under an id of the archive".to_owned(),
            name: message,
        }
    } else {
        Error::invalid("archive", message)
    })
}
