//! `audit`: whether the log is what was written, its signed heads, and the log for others.

mod export;
mod logs;
mod verify;

pub(in crate::cli) use self::verify::Progress;

use std::path::PathBuf;

use api_types::{AuditHeadDocument, AuditKeyDocument};
use app::{
    command::Command,
    event::{KeyRotated, Stream, StreamKind},
    hex::hex,
};

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    heads,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Recompute every hash of the log, and hold tasks' logs.jsonl against it; exit 1 and name the
    /// first wrong position if there is one
    Verify(verify::Args),
    /// Sign the log's present head and print it
    Head,
    /// Print the log as JSON lines that anybody can verify
    Export(export::Args),
    /// Sign heads by a new key from now on; those of the old one stay good
    RotateKey,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        match self.verb {
            Verb::Verify(args) => args.run(context),
            Verb::Head => head(context),
            Verb::Export(args) => args.run(context),
            Verb::RotateKey => rotate(context),
        }
    }
}

/// A stream by the id of its project, task or session; a task by whatever names one.
fn stream_of(context: &Context, name: &str) -> Result<Stream, Fail> {
    if let Ok(stream) = name.parse() {
        return Ok(stream);
    }
    Ok(Stream {
        kind: StreamKind::Task,
        id: context.resolve(name)?.number(),
    })
}

fn nothing_logged() -> Fail {
    Fail::new(Exit::Conflict, "nothing was logged yet")
}

fn head(context: &Context) -> Outcome {
    heads::of(context.config()?, &context.places)?;
    if !context.has_store()? {
        return Err(nothing_logged());
    }
    let Some((signed, heads)) = heads::sign_now(context)? else {
        return Err(nothing_logged());
    };
    let out = &context.out;
    let files: Vec<PathBuf> = heads.files().into_iter().map(PathBuf::from).collect();
    let hash = hex(&signed.head.global_hash);
    out.line(format_args!("Position {}", signed.head.position))?;
    out.line(format_args!("Hash     {hash}"))?;
    out.line(format_args!(
        "Signed   {} by key {}",
        signed.at, signed.key_id
    ))?;
    for file in &files {
        out.line(format_args!("In       {}", file.display()))?;
    }
    out.print(&AuditHeadDocument {
        position: signed.head.position,
        global_hash: hash,
        at: signed.at.to_string(),
        key_id: signed.key_id,
        signature: signed.signature,
        files,
    })?;
    Ok(Exit::Ok)
}

fn rotate(context: &Context) -> Outcome {
    let project = context.ensure_project()?;
    let heads = heads::of(context.config()?, &context.places)?;
    // What the old key can still vouch for.
    heads::sign_now(context)?;
    let rotated = heads.rotate(context.clock()?.now().wall)?;
    heads::report_second(&rotated.second, &context.out);
    let (retired, current) = (rotated.retired, rotated.current);
    context.change(Command::RecordKeyRotation {
        project: project.id,
        rotated: KeyRotated {
            retired: retired.clone(),
            current: current.key_id.clone(),
            public_key: current.public_key.clone(),
        },
    })?;
    heads::sign_now(context)?;
    context.tell_project(&project, true);
    let out = &context.out;
    out.line(format_args!(
        "Heads are signed by key {} from now on; those of {retired} stay good",
        current.key_id
    ))?;
    out.print(&AuditKeyDocument {
        retired,
        key_id: current.key_id,
        public_key: current.public_key,
    })?;
    Ok(Exit::Ok)
}
