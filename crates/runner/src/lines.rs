//! Cuts a stream into lines, and lines that are too long.

/// How much of the end of a cut line is dropped with it: a secret that the cut goes through would
/// not be recognised any more.
const CUT_MARGIN: usize = 1024;

/// Collects bytes until they are a line.
#[derive(Debug)]
pub(crate) struct Lines {
    line: Vec<u8>,
    /// Bytes of the present line that were dropped.
    dropped: usize,
    limit: usize,
}

/// One line without its newline.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) bytes: &'a [u8],
    /// How many bytes are missing at its end.
    pub(crate) dropped: usize,
}

impl Lines {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            dropped: 0,
            limit: limit.max(2 * CUT_MARGIN),
        }
    }

    /// Takes what was read and passes on every line that is whole.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut take: impl FnMut(&Line<'_>)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.keep(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.pass(&mut take);
        }
        self.keep(bytes);
    }

    /// Passes on what is left without a newline.
    pub(crate) fn finish(&mut self, mut take: impl FnMut(&Line<'_>)) {
        if !self.line.is_empty() {
            self.pass(&mut take);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.line.len()).min(bytes.len());
        self.line.extend_from_slice(&bytes[..room]);
        self.dropped += bytes.len() - room;
    }

    fn pass(&mut self, take: &mut impl FnMut(&Line<'_>)) {
        if self.dropped > 0 {
            self.line.truncate(self.limit - CUT_MARGIN);
            self.dropped += CUT_MARGIN;
        }
        take(&Line {
            bytes: &self.line,
            dropped: self.dropped,
        });
        self.line.clear();
        self.dropped = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(limit: usize, chunks: &[&[u8]]) -> Vec<(usize, usize)> {
        let mut lines = Lines::new(limit);
        let mut found = vec![];
        for chunk in chunks {
            lines.feed(chunk, |line| found.push((line.bytes.len(), line.dropped)));
        }
        lines.finish(|line| found.push((line.bytes.len(), line.dropped)));
        found
    }

    #[test]
    fn lines_may_come_in_pieces_and_without_an_end() {
        assert_eq!(
            lines(4096, &[b"ab", b"c\n\nde", b"f"]),
            [(3, 0), (0, 0), (3, 0)]
        );
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let long = vec![b'x'; 10_000];
        assert_eq!(lines(4096, &[&long, b"\nnext\n"]), [(3072, 6928), (4, 0)]);
    }
}
