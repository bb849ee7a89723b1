//! `node`: who shares the store, and who takes no more work.

use api_types::{CheckoutRef, NodeDocument, NodeListDocument};
use app::{
    command::{Command, Output},
    query::NodeView,
};
use domain::node::{Leader, NodeCommand, NodeStatus};

use crate::{
    context::{Context, unexpected},
    fail::{Exit, Fail, Outcome},
    render::table,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the nodes
    List {
        /// Also those that have left
        #[arg(long)]
        all: bool,
    },
    /// Show everything about one
    Show(Which),
    /// Start nothing new on a node; what is at work there goes on
    Cordon(Which),
    /// Start work on a node again
    Uncordon(Which),
    /// Start nothing new on a node, and end it once nothing is at work there
    Drain(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Its name, its id or the end of that
    #[arg(value_name = "NODE")]
    node: String,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        match self.verb {
            Verb::List { all } => list(context, all),
            Verb::Show(which) => which.show(context),
            Verb::Cordon(which) => which.tell(context, NodeCommand::Cordon),
            Verb::Uncordon(which) => which.tell(context, NodeCommand::Uncordon),
            Verb::Drain(which) => which.tell(context, NodeCommand::Drain),
        }
    }
}

fn list(context: &Context, all: bool) -> Outcome {
    let (views, leader) = context.nodes()?;
    let here = context.node()?;
    let mut nodes = Vec::new();
    for view in &views {
        if all || view.node.status() != NodeStatus::Left {
            let mut document = document(view, leader.as_ref());
            document.here = here == Some(view.node.id);
            nodes.push(document);
        }
    }
    let out = &context.out;
    if nodes.is_empty() {
        out.line("No nodes. `crewboss serve` makes this home one.")?;
    } else {
        let header = [
            "Node",
            "Status",
            "Sessions",
            "Leads",
            "Projects",
            "Last heard of",
        ];
        let rows: Vec<Vec<String>> = nodes.iter().map(row).collect();
        out.line(table::render(out, &header, &rows))?;
    }
    out.print(&NodeListDocument { nodes })?;
    Ok(Exit::Ok)
}

fn row(node: &NodeDocument) -> Vec<String> {
    let projects: Vec<&str> = node
        .projects
        .iter()
        .map(|known| known.name.as_str())
        .collect();
    vec![
        node.name.clone(),
        node.status.as_str().to_owned(),
        format!("{} of {}", node.sessions, node.capacity),
        if node.leads { "yes" } else { "" }.to_owned(),
        projects.join(", "),
        node.heard_at.to_string(),
    ]
}

fn document(view: &NodeView, leader: Option<&Leader>) -> NodeDocument {
    let is_there = !matches!(view.node.status(), NodeStatus::Left | NodeStatus::Lost);
    NodeDocument {
        leads: is_there && leader.is_some_and(|leader| leader.node == view.node.id),
        sessions: view.sessions,
        projects: view
            .projects
            .iter()
            .map(|project| CheckoutRef {
                project: project.id,
                name: project.name.clone(),
                root: project.root.clone(),
            })
            .collect(),
        ..NodeDocument::of(&view.node)
    }
}

impl Which {
    /// The node that a person means: of those that have left only where no other is meant.
    fn find(&self, context: &Context) -> Result<NodeDocument, Fail> {
        let (views, leader) = context.nodes()?;
        let name = self.node.as_str();
        let is_meant = |view: &&NodeView| {
            let id = view.node.id;
            let is_end = name.bytes().all(|byte| byte.is_ascii_digit())
                && id.number().to_string().ends_with(name);
            view.node.name == name || id.to_string() == name || is_end
        };
        let (gone, there): (Vec<&NodeView>, Vec<&NodeView>) = views
            .iter()
            .filter(is_meant)
            .partition(|view| view.node.status() == NodeStatus::Left);
        let found = if there.is_empty() { gone } else { there };
        match found.as_slice() {
            [] => Err(app::error::Error::not_found("Node", name).into()),
            [one] => {
                let here = context.node()?;
                let mut document = document(one, leader.as_ref());
                document.here = here == Some(one.node.id);
                Ok(document)
            }
            several => Err(app::error::Error::Ambiguous {
                name: name.to_owned(),
                candidates: several
                    .iter()
                    .map(|view| view.node.id.to_string())
                    .collect(),
            }
            .into()),
        }
    }

    fn show(&self, context: &Context) -> Outcome {
        let node = self.find(context)?;
        let out = &context.out;
        let here = if node.here { ", this one" } else { "" };
        out.line(format_args!("Node: {} ({}{here})", node.name, node.id))?;
        out.line(format_args!("Status: {}", node.status.as_str()))?;
        let (sessions, capacity) = (node.sessions, node.capacity);
        out.line(format_args!("Sessions: {sessions} of {capacity}"))?;
        out.line(format_args!(
            "Leads: {}",
            if node.leads { "yes" } else { "no" }
        ))?;
        if !node.labels.is_empty() {
            out.line(format_args!("Labels: {}", node.labels.join(", ")))?;
        }
        out.line(format_args!(
            "Version: {} (PID: {})",
            node.version, node.pid
        ))?;
        out.line(format_args!("Last heard of: {}", node.heard_at))?;
        for (what, at) in [("Lost", node.lost_at), ("Left", node.left_at)] {
            if let Some(at) = at {
                out.line(format_args!("{what}: {at}"))?;
            }
        }
        for known in &node.projects {
            out.line(format_args!("Project: {} ({})", known.name, known.root))?;
        }
        out.print(&node)?;
        Ok(Exit::Ok)
    }

    fn tell(&self, context: &Context, command: NodeCommand) -> Outcome {
        let node = self.find(context)?;
        let told = match command {
            NodeCommand::Uncordon => "takes work",
            NodeCommand::Drain => "takes no more work, and ends once it has none",
            _ => "takes no more work",
        };
        let Output::Node { node: after } = context.change(Command::Node {
            node: node.id,
            command,
        })?
        else {
            return Err(unexpected("node"));
        };
        context.out.line(format_args!("{} {told}", node.name))?;
        context.out.print(&NodeDocument {
            status: after.status(),
            ..node
        })?;
        Ok(Exit::Ok)
    }
}
