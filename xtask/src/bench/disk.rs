//! What the disk itself takes.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
    time::Duration,
};

use anyhow::Result;

use super::sample::Sample;
use crate::shell;

/// One page appended and on the disk.
#[derive(Debug)]
pub(crate) struct Append(File);

impl Append {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("append"))?;
        Ok(Self(file))
    }

    pub(crate) fn time(&mut self) -> Result<Sample> {
        let watch = shell::start_watch();
        self.0.write_all(&[7; 4096])?;
        self.0.sync_data()?;
        Ok(Sample {
            wall: watch.elapsed(),
            cpu: Duration::ZERO,
        })
    }
}
