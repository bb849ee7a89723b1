//! A page as its commands, files and places.
//!
//! A fenced block `console` holds commands behind `$ `, each followed by what it prints. `…` stands
//! for any text in a line, and alone in a line for any lines. A command without output below it may
//! print what it likes. It has to end in 0, or in N where it carries the comment `# exit N`.
//!
//! Comments of the page say what the reader is told in words: `<!-- place: folder -->`,
//! `<!-- place: repository -->`, `<!-- place: empty repository -->` (where the commands run, before
//! the first of them), `<!-- opencode -->` (the page needs `OpenCode`),
//! `<!-- postgres -->` (the page needs a database), and `<!-- file: PATH -->`
//! (the next fenced block is added to that file).

/// Where a page's commands are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// A plain folder.
    Folder,
    /// A git repository with one commit on `main`.
    Repository,
    /// A git repository without commits.
    EmptyRepository,
}

/// Something that the reader does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Types a command.
    Command(Command),
    /// Adds a text to a file.
    File { path: String, text: String },
    /// Goes to another, new place.
    Go(Ground),
}

/// A command of a page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) page: String,
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) exit: i32,
    pub(crate) expected: Vec<String>,
}

/// A page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) steps: Vec<Step>,
    /// Whether its commands run agents of `OpenCode`.
    pub(crate) needs_opencode: bool,
    /// Whether its commands need a database, whose address is in `ADDRESS`, and another one in `EMPTY`.
    pub(crate) needs_postgres: bool,
    /// Lines of blocks `sh`: commands that no test can run.
    pub(crate) unrun: Vec<String>,
    /// Code in the running text.
    pub(crate) spans: Vec<String>,
}

impl Page {
    /// Reads a page; panics with its name and line where it is not made as the module says.
    pub(crate) fn parse(name: &str, text: &str) -> Self {
        let mut page = Self::default();
        let mut file: Option<String> = None;
        let mut lines = text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            let place = format!("{name}:{}", at + 1);
            if let Some(kind) = line.trim_start().strip_prefix("```") {
                let indent = line.len() - line.trim_start().len();
                let body: Vec<(usize, String)> = lines
                    .by_ref()
                    .take_while(|(_, line)| line.trim_start() != "```")
                    .map(|(at, line)| (at + 1, line.get(indent..).unwrap_or_default().to_owned()))
                    .collect();
                page.block(name, &place, kind, &body, file.take());
            } else if let Some(comment) = comment(line) {
                page.directive(&place, comment, &mut file);
            } else {
                let code = line.split('`').skip(1).step_by(2);
                page.spans.extend(code.map(str::to_owned));
            }
        }
        assert!(file.is_none(), "{name}: a file without a block");
        page
    }

    /// Its commands in order.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &Command> {
        self.steps.iter().filter_map(|step| match step {
            Step::Command(command) => Some(command),
            Step::File { .. } | Step::Go(_) => None,
        })
    }

    fn directive(&mut self, place: &str, comment: &str, file: &mut Option<String>) {
        match comment.split_once(": ").unwrap_or((comment, "")) {
            ("place", "folder") => self.steps.push(Step::Go(Ground::Folder)),
            ("place", "repository") => self.steps.push(Step::Go(Ground::Repository)),
            ("place", "empty repository") => self.steps.push(Step::Go(Ground::EmptyRepository)),
            ("opencode", "") => self.needs_opencode = true,
            ("postgres", "") => self.needs_postgres = true,
            ("file", path) => *file = Some(path.to_owned()),
            _ => panic!("{place}: unknown comment `{comment}`"),
        }
    }

    fn block(
        &mut self,
        name: &str,
        place: &str,
        kind: &str,
        body: &[(usize, String)],
        file: Option<String>,
    ) {
        if let Some(path) = file {
            let text = body
                .iter()
                .fold(String::new(), |text, (_, line)| text + line + "\n");
            self.steps.push(Step::File { path, text });
            return;
        }
        match kind {
            "console" => self.console(name, place, body),
            "sh" => self.unrun.extend(body.iter().map(|(_, line)| line.clone())),
            "text" | "mermaid" => {}
            _ => panic!("{place}: a block `{kind}` is neither run nor written to a file"),
        }
    }

    fn console(&mut self, name: &str, place: &str, body: &[(usize, String)]) {
        let is_ready = self.steps.iter().any(|step| matches!(step, Step::Go(_)));
        assert!(is_ready, "{place}: commands before a place");
        for (line, text) in body {
            if let Some(typed) = text.strip_prefix("$ ") {
                let (text, exit) = match typed.rsplit_once("# exit ") {
                    Some((text, code)) => (text.trim_end(), code.trim().parse().unwrap()),
                    None => (typed, 0),
                };
                self.steps.push(Step::Command(Command {
                    page: name.to_owned(),
                    line: *line,
                    text: text.to_owned(),
                    exit,
                    expected: Vec::new(),
                }));
            } else if let Some(Step::Command(command)) = self.steps.last_mut() {
                command.expected.push(text.clone());
            } else {
                panic!("{name}:{line}: output before a command");
            }
        }
    }
}

fn comment(line: &str) -> Option<&str> {
    let inside = line.trim().strip_prefix("<!--")?.strip_suffix("-->")?;
    Some(inside.trim())
}

/// Whether the output is what the page shows.
pub(crate) fn is_shown(expected: &[String], output: &[&str]) -> bool {
    match (expected.split_first(), output.split_first()) {
        (None, None) => true,
        (Some((any, rest)), None) => any.trim() == "…" && is_shown(rest, output),
        (Some((any, rest)), Some((_, later))) if any.trim() == "…" => {
            is_shown(rest, output) || is_shown(expected, later)
        }
        (Some((line, rest)), Some((first, later))) => {
            is_line_shown(line.trim_end(), first.trim_end()) && is_shown(rest, later)
        }
        (None, Some(_)) => false,
    }
}

fn is_line_shown(expected: &str, line: &str) -> bool {
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut open = false;
    let mut last = "";
    for part in parts {
        open = true;
        last = part;
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty() || (open && (last.is_empty() || line.ends_with(last)))
}

#[test]
fn output_is_compared_with_what_may_differ() {
    let shown = |expected: &str, output: &str| {
        let expected: Vec<String> = expected.lines().map(str::to_owned).collect();
        is_shown(&expected, &output.lines().collect::<Vec<_>>())
    };
    assert!(shown("a\nb", "a\nb"));
    assert!(shown("Task … created.", "Task 7 created."));
    assert!(shown("a\n…\nz", "a\nb\nc\nz") && shown("a\n…\nz", "a\nz") && shown("…", ""));
    assert!(shown("…/x …", "some/x is it") && shown("x … done", "x one done two done"));
    assert!(!shown("a", "a\nb") && !shown("a\nb", "a") && !shown("a", "ab"));
    assert!(!shown("Task … created.", "Task 7 created. No.") && !shown("a…", "b"));
}

#[test]
fn a_page_is_commands_files_and_places() {
    let text = "Say `crewboss doctor`.\n<!-- place: folder -->\n<!-- file: a.toml -->\n```toml\nx = 1\n```\n\
                ```console\n$ one\nout\n$ two # exit 3\n```\n```sh\ncargo xtask demo\n```\n";
    let page = Page::parse("p", text);
    assert_eq!(page.spans, ["crewboss doctor"]);
    assert_eq!(page.unrun, ["cargo xtask demo"]);
    let commands: Vec<_> = page.commands().collect();
    assert_eq!((commands[0].text.as_str(), commands[0].line), ("one", 8));
    assert_eq!(commands[0].expected, ["out"]);
    assert_eq!((commands[1].text.as_str(), commands[1].exit), ("two", 3));
    let file = Step::File {
        path: "a.toml".to_owned(),
        text: "x = 1\n".to_owned(),
    };
    assert_eq!(page.steps[1], file);
}
