//! The sample repository and what is to be done in it.

/// A task of the demo, and what must be on its branch afterwards.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) prompt: &'static str,
    /// Places in [`TASKS`] that have to be done before.
    pub(crate) after: &'static [usize],
    /// A file, and a text that must be in it.
    pub(crate) expected: &'static [(&'static str, &'static str)],
}

/// Five tasks; the last needs three of the others.
pub(crate) const TASKS: &[Sample] = &[
    Sample {
        prompt: "Write slugify(text) in src/slugify.js, with a test",
        after: &[],
        expected: &[
            ("src/slugify.js", "export function slugify"),
            ("test/slugify.test.js", "hello-world"),
        ],
    },
    Sample {
        prompt: "Write countWords(text) in src/count-words.js, with a test",
        after: &[],
        expected: &[("src/count-words.js", "export function countWords")],
    },
    Sample {
        prompt: "Write titleCase(text) in src/title-case.js, with a test",
        after: &[],
        expected: &[("src/title-case.js", "export function titleCase")],
    },
    Sample {
        prompt: "Describe the project in README.md",
        after: &[],
        expected: &[("README.md", "node --test")],
    },
    Sample {
        prompt: "Export everything from src/index.js, with a test",
        after: &[0, 1, 2],
        expected: &[
            ("src/index.js", "titleCase"),
            ("src/slugify.js", "slugify"),
            ("src/count-words.js", "countWords"),
        ],
    },
];

/// The files of the sample repository's first commit.
pub(crate) const FILES: &[(&str, &str)] = &[
    (
        "package.json",
        "{ \"name\": \"text-tools\", \"type\": \"module\", \"private\": true }\n",
    ),
    (
        "test/start.test.js",
        "import test from \"node:test\";\n\ntest(\"the test runner runs\", () => {});\n",
    ),
    (
        ".crewboss/config.toml",
        "# Every task has to pass this before it counts as done.\n\
         [[gates]]\n\
         name = \"tests\"\n\
         command = [\"node\", \"--test\"]\n\
         timeout_seconds = 120\n",
    ),
];
