//! `quota`: how much projects and owners may have.

use api_types::{QuotaDocument, QuotaListDocument};
use app::{
    command::{Command, Output},
    expected::Expected,
    query::{Query, View},
};
use domain::{
    project::Project,
    quota::{Quota, QuotaKey, QuotaResource, month_of},
};

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
    /// List every quota of the store, with how far it is used
    List,
    /// Set a quota, or change one
    Set {
        #[command(flatten)]
        which: Which,
        /// So much there may be; 0 lets nothing through
        #[arg(value_name = "MAX", allow_hyphen_values = true)]
        max: String,
    },
    /// Remove a quota
    Remove {
        #[command(flatten)]
        which: Which,
    },
}

/// Which quota, and the version of it that the caller has seen.
#[derive(Debug, clap::Args)]
struct Which {
    /// Of what: active-sessions, queued-tasks or tokens-month
    #[arg(value_name = "RESOURCE", value_parser = parse_resource)]
    resource: QuotaResource,
    /// Of this owner, rather than of all owners together
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// In all projects of the store together, rather than in this project
    #[arg(long)]
    all_projects: bool,
    /// Change nothing unless the quota has this version; 0: unless there is none
    #[arg(long, visible_alias = "if-version", value_name = "N")]
    expected_version: Option<u64>,
}

fn parse_resource(text: &str) -> Result<QuotaResource, String> {
    let word = text.replace('-', "_");
    let known = QuotaResource::ALL.iter();
    known
        .copied()
        .find(|resource| resource.as_str() == word)
        .ok_or_else(|| "expected active-sessions, queued-tasks or tokens-month".to_owned())
}

impl Which {
    fn key(&self, project: &Project) -> QuotaKey {
        QuotaKey {
            resource: self.resource,
            project: (!self.all_projects).then_some(project.id),
            owner: self.owner.clone(),
        }
    }

    fn guard(&self, key: &QuotaKey, command: Command) -> Command {
        match self.expected_version {
            None => command,
            Some(version) => Command::Expecting {
                expected: vec![Expected::Quota {
                    key: key.clone(),
                    version,
                }],
                command: Box::new(command),
            },
        }
    }
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        super::history::refuse_layout(context)?;
        match self.verb {
            Verb::List => list(context),
            Verb::Set { which, max } => {
                let max = max.parse::<u64>().map_err(|_| {
                    Fail::usage(format!("MAX: {max:?} is no number from 0 on"))
                        .hint("`crewboss quota remove` takes a quota away")
                })?;
                let project = context.ensure_project()?;
                let key = which.key(&project);
                let command = Command::SetQuota {
                    project: project.id,
                    key: key.clone(),
                    max,
                };
                tell(context, &project, which.guard(&key, command), "is")
            }
            Verb::Remove { which } => {
                let Some(project) = context.known_project()? else {
                    return Err(Fail::new(Exit::NotFound, "there is no project here"));
                };
                let key = which.key(&project);
                let command = Command::RemoveQuota {
                    project: project.id,
                    key: key.clone(),
                };
                tell(context, &project, which.guard(&key, command), "was")
            }
        }
    }
}

fn tell(context: &Context, project: &Project, command: Command, verb: &str) -> Outcome {
    let Output::Quota { quota, used } = context.change(command)? else {
        return Err(unexpected("quota"));
    };
    context.tell_project(project, true);
    let (key, max) = (&quota.key, quota.max);
    let removed = if verb == "was" {
        ", and is removed"
    } else {
        ""
    };
    context.out.line(format_args!(
        "The quota {key} {verb} {max} ({used} used){removed}."
    ))?;
    let month = month_of(context.clock()?.now().wall);
    context.out.print(&QuotaDocument::of(&quota, used, month))?;
    Ok(Exit::Ok)
}

fn list(context: &Context) -> Outcome {
    let (quotas, month) = if context.has_store()? {
        match context.store()?.read(&Query::Quotas)? {
            View::Quotas { quotas, month } => (quotas, month),
            _ => return Err(unexpected("quotas")),
        }
    } else {
        (vec![], 0)
    };
    let out = &context.out;
    let documents = quotas
        .iter()
        .map(|(quota, used)| QuotaDocument::of(quota, *used, month));
    out.print(&QuotaListDocument {
        quotas: documents.collect(),
    })?;
    if quotas.is_empty() {
        out.line("No quotas are set.")?;
        return Ok(Exit::Ok);
    }
    let rows: Result<Vec<Vec<String>>, Fail> = quotas
        .iter()
        .map(|(quota, used)| row(context, quota, *used))
        .collect();
    let header = ["Resource", "Project", "Owner", "Used", "Max", "Version"];
    out.line(table::render(out, &header, &rows?))?;
    Ok(Exit::Ok)
}

fn row(context: &Context, quota: &Quota, used: u64) -> Result<Vec<String>, Fail> {
    let key = &quota.key;
    let project = match key.project {
        Some(project) => context.root_of(project)?,
        None => "all".to_owned(),
    };
    Ok(vec![
        key.resource.to_string(),
        project,
        key.owner.clone().unwrap_or_else(|| "all".to_owned()),
        used.to_string(),
        quota.max.to_string(),
        quota.version.to_string(),
    ])
}
