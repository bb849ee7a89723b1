//! `decision`: what was decided in the course of a task, and why.

use std::fmt::Write as _;

use api_types::{DecisionDocument, DecisionEntry, DecisionListDocument};
use app::ports::journal::Decision;
use domain::{id::TaskId, redact::Redactor};
use serde_json::{Map, Value};

use super::{
    history::{refuse_layout, refuse_purged, root, shown, text_of},
    note::refuse_deleted,
};
use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    papers, wiring,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write a decision into the task's decisions.md
    Add(Box<Add>),
    /// Show the decisions of a task
    List {
        /// The task: its id, the end of one, or its key
        #[arg(value_name = "ID")]
        task: String,
        /// Only those of this agent
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// Only the last so many
        #[arg(long, short = 'n', value_name = "N")]
        last: Option<usize>,
        /// Also of a deleted task
        #[arg(long)]
        include_deleted: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The task: its id, the end of one, or its key
    #[arg(value_name = "ID")]
    task: String,
    /// What was decided
    #[arg(long, value_name = "TEXT")]
    decision: String,
    /// Who decided; you, where it is not said
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// What it was about
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    context: String,
    /// What else was thought of; may be repeated
    #[arg(long = "alternative", value_name = "TEXT")]
    alternatives: Vec<String>,
    /// Why it was this; `-` reads standard input
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    reasoning: String,
    /// Anything else; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        refuse_layout(context)?;
        match self.verb {
            Verb::Add(add) => add.run(context),
            Verb::List {
                task,
                agent,
                last,
                include_deleted,
            } => {
                let task = context.find(&task, include_deleted)?;
                list(context, task, agent.as_deref(), last)
            }
        }
    }
}

impl Add {
    fn run(self, context: &Context) -> Outcome {
        let task = context.resolve(&self.task)?;
        refuse_deleted(context, task)?;
        let decision = self.decision(context)?;
        context.journal()?.decide(root(context), task, &decision)?;
        let layers = wiring::layers();
        papers::take_in(
            context,
            &*layers,
            root(context),
            &context.tasks_of(&[task])?,
        )?;
        context
            .out
            .line(format_args!("Decision added to task {task}."))?;
        context.out.print(&DecisionDocument {
            task,
            added: document(decision),
        })?;
        Ok(Exit::Ok)
    }

    fn decision(&self, context: &Context) -> Result<Decision, Fail> {
        let redactor = Redactor::default();
        let plain = |text: &str| redactor.text(text.trim_end()).into_owned();
        if self.decision.trim().is_empty() {
            return Err(Fail::usage("--decision: it is empty: say what was decided"));
        }
        let agent = self.agent.clone().unwrap_or_else(|| context.owner());
        Ok(Decision {
            decision: plain(&self.decision),
            agent: plain(&agent),
            at: Some(context.clock()?.now().wall),
            context: plain(&self.context),
            alternatives: self.alternatives.iter().map(|text| plain(text)).collect(),
            reasoning: plain(&text_of(context, "reasoning", &self.reasoning)?),
            metadata: self.metadata(&redactor)?,
        })
    }

    fn metadata(&self, redactor: &Redactor) -> Result<Map<String, Value>, Fail> {
        let pair = |text: &String| {
            let (key, value) = text
                .split_once('=')
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(|| Fail::usage(format!("--metadata {text}: expected KEY=VALUE")))?;
            Ok((key.to_owned(), Value::from(redactor.text(value).as_ref())))
        };
        self.metadata.iter().map(pair).collect()
    }
}

fn list(context: &Context, task: TaskId, agent: Option<&str>, last: Option<usize>) -> Outcome {
    refuse_purged(context, task)?;
    let (mut decisions, findings) = context.journal()?.decisions(root(context), task)?;
    decisions.retain(|decision| agent.is_none_or(|agent| agent == decision.agent));
    let passed_over = last.map_or(0, |last| decisions.len().saturating_sub(last));
    decisions.drain(..passed_over);
    for finding in &findings {
        context.out.warn(finding);
    }
    if decisions.is_empty() {
        context
            .out
            .line(format_args!("Task {task} has no decisions."))?;
    }
    for (number, decision) in decisions.iter().enumerate() {
        context.out.line(text(number, decision).trim_end())?;
    }
    context.out.print(&DecisionListDocument {
        task,
        decisions: decisions.into_iter().map(document).collect(),
        findings: findings.into_iter().map(shown).collect(),
    })?;
    Ok(Exit::Ok)
}

fn text(number: usize, decision: &Decision) -> String {
    let blank = if number == 0 { "" } else { "\n" };
    let mut text = format!("{blank}{}. {}\n", number + 1, decision.decision);
    let mut part = |name: &str, value: &str| {
        if !value.is_empty() {
            let value = value.replace('\n', "\n   ");
            let _ = writeln!(text, "   {name}: {value}");
        }
    };
    let at = decision.at.map_or(String::new(), |at| format!(", {at}"));
    part("by", &format!("{}{at}", decision.agent));
    part("context", &decision.context);
    for alternative in &decision.alternatives {
        part("not", alternative);
    }
    part("because", &decision.reasoning);
    if !decision.metadata.is_empty() {
        part(
            "with",
            &Value::Object(decision.metadata.clone()).to_string(),
        );
    }
    text
}

fn document(decision: Decision) -> DecisionEntry {
    DecisionEntry {
        decision: decision.decision,
        agent: decision.agent,
        timestamp: decision.at,
        context: decision.context,
        alternatives: decision.alternatives,
        reasoning: decision.reasoning,
        metadata: decision.metadata,
    }
}
