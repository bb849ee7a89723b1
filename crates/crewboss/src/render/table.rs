//! Tables: Markdown for programs and pages, aligned columns for a terminal.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};

use crate::output::Output;

/// A table in the form that the reader of stdout wants.
pub(crate) fn render(out: &Output, header: &[&str], rows: &[Vec<String>]) -> String {
    if out.terminal {
        pretty(out, header, rows)
    } else {
        markdown(header, rows)
    }
}

fn markdown(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n", header.join(" | "));
    text.push('|');
    text.push_str(&"---|".repeat(header.len()));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = write!(text, "\n| {} |", cells.join(" | "));
    }
    text
}

fn pretty(out: &Output, header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    let preset = if out.unicode {
        presets::UTF8_HORIZONTAL_ONLY
    } else {
        presets::ASCII_MARKDOWN
    };
    table
        .load_style(preset)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdout())
        && size.ws_col > 0
    {
        table.set_width(size.ws_col);
    }
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row.clone());
    }
    table.to_string()
}
