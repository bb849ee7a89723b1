//! One connection to the server, driven by the thread that asks: what is asked together crosses the
//! line together.

use std::{
    cell::RefCell, collections::HashMap, fmt, future::poll_fn, pin::Pin, sync::Arc, task::Poll,
    time::Duration,
};

use app::error::Error;
use tokio::{runtime::Runtime, time::timeout};
use tokio_postgres::{
    Client, Row, Statement,
    types::{ToSql, Type},
};

use crate::{
    failure::Trouble,
    target::{Pooler, Target},
    tls,
};

/// For so long the server may be silent before it is given up.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// The pause before a server that is full is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A parameter of a statement with its type.
pub(crate) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// One of several things that cross the line together.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// Text without parameters, which may be several statements.
    Plain(&'a str),
    /// A statement in which `@` stands for the store's schema.
    Ask(&'static str, &'a [Param<'a>]),
    /// The same with values of its own.
    Do(&'a Batch),
}

/// A statement with its values.
pub(crate) struct Batch {
    pub(crate) sql: &'static str,
    pub(crate) values: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("sql", &self.sql).finish()
    }
}

/// A statement as the server is asked it.
struct Known {
    text: Arc<str>,
    uses: u32,
    /// From the second use on, where the connection is a session of the server.
    statement: Option<Statement>,
}

/// A connection.
pub(crate) struct Link {
    client: Client,
    target: Arc<Target>,
    known: RefCell<HashMap<&'static str, Known>>,
    trouble: RefCell<Option<Trouble>>,
    runtime: Runtime,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("target", &self.target)
            .field("trouble", &self.trouble)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Connects, within the target's time.
    /// A server that is full or just starting is asked again meanwhile.
    pub(crate) fn open(target: &Arc<Target>) -> Result<Self, Error> {
        let mut tries = target.connect_timeout.as_millis() / AGAIN_AFTER.as_millis();
        loop {
            match Self::try_open(target)? {
                Ok(link) => return Ok(link),
                Err(trouble) if trouble.passes() && tries > 0 => {
                    tries -= 1;
                    std::thread::sleep(AGAIN_AFTER);
                }
                Err(trouble) => return Err(trouble.told_connecting(target)),
            }
        }
    }

    /// The same, with what went wrong on the line kept apart from what is wrong here.
    pub(crate) fn try_open(target: &Arc<Target>) -> Result<Result<Self, Trouble>, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::unavailable(format!("no connection can be made: {error}")))?;
        let config = config_of(target);
        let connector = tls::connector(target)?;
        let connecting = async {
            let connecting = timeout(target.connect_timeout, config.connect(connector)).await;
            let (client, connection) = match connecting {
                Ok(connected) => connected.map_err(Trouble::from)?,
                Err(_) => {
                    let seconds = target.connect_timeout.as_secs();
                    return Err(Trouble::Lost(format!("no answer within {seconds} s")));
                }
            };
            drop(tokio::spawn(async move { drop(connection.await) }));
            Ok(client)
        };
        Ok(runtime.block_on(connecting).map(|client| Self {
            client,
            target: Arc::clone(target),
            known: RefCell::default(),
            trouble: RefCell::default(),
            runtime,
        }))
    }

    /// What went wrong last, where anything did: a transaction that was open is void.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble.borrow().clone()
    }

    /// Whether it can be used for another transaction.
    pub(crate) fn is_sound(&self) -> bool {
        self.trouble.borrow().is_none() && !self.client.is_closed()
    }

    /// What went wrong is dealt with: its transaction was ended.
    pub(crate) fn forgive(&self) {
        let mut trouble = self.trouble.borrow_mut();
        if !trouble.as_ref().is_some_and(Trouble::is_lost) {
            *trouble = None;
        }
    }

    /// The rows of one statement.
    pub(crate) fn ask(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        let mut answers = self.together(&[Step::Ask(sql, params)])?;
        Ok(answers.pop().unwrap_or_default())
    }

    /// The rows of each step. All of them cross the line at once; the first that fails is what is
    /// told.
    pub(crate) fn together(&self, steps: &[Step<'_>]) -> Result<Vec<Vec<Row>>, Error> {
        self.attempt(steps)
            .map_err(|trouble| trouble.told(&self.target))
    }

    /// The same, with what went wrong as it was.
    pub(crate) fn attempt(&self, steps: &[Step<'_>]) -> Result<Vec<Vec<Row>>, Trouble> {
        let asking = async {
            let ready = self.prepare(steps).await?;
            let mut asked: Vec<Asked<'_>> = steps
                .iter()
                .zip(ready)
                .map(|(step, ready)| Asked::Waits(self.send(step, ready)))
                .collect();
            // Each is sent when it is first looked at, so that they are sent in this order.
            poll_fn(|context| {
                let mut waits = false;
                for one in &mut asked {
                    if let Asked::Waits(future) = one {
                        match future.as_mut().poll(context) {
                            Poll::Ready(answer) => *one = Asked::Answered(answer),
                            Poll::Pending => waits = true,
                        }
                    }
                }
                if waits {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            })
            .await;
            asked.into_iter().map(Asked::into_answer).collect()
        };
        let answers = self.runtime.block_on(async {
            match timeout(SILENCE_MAX, asking).await {
                Ok(answers) => answers,
                Err(_) => Err(Trouble::Lost("the server is silent".to_owned())),
            }
        });
        if let Err(trouble) = &answers {
            *self.trouble.borrow_mut() = Some(trouble.clone());
        }
        answers
    }

    /// How each step is asked: statements that are asked again and again are kept by the server.
    async fn prepare(&self, steps: &[Step<'_>]) -> Result<Vec<Option<Ready>>, Trouble> {
        let mut ready = Vec::with_capacity(steps.len());
        for step in steps {
            let (sql, types): (&'static str, Vec<Type>) = match step {
                Step::Plain(_) => {
                    ready.push(None);
                    continue;
                }
                Step::Ask(sql, params) => (*sql, params.iter().map(|p| p.1.clone()).collect()),
                Step::Do(batch) => (
                    batch.sql,
                    batch.values.iter().map(|v| v.1.clone()).collect(),
                ),
            };
            let wanted = {
                let mut known = self.known.borrow_mut();
                let one = known.entry(sql).or_insert_with(|| Known {
                    text: self.in_schema(sql).into(),
                    uses: 0,
                    statement: None,
                });
                one.uses = one.uses.saturating_add(1);
                let keeps = self.target.pooler == Pooler::None && one.uses > 1;
                (keeps && one.statement.is_none()).then(|| Arc::clone(&one.text))
            };
            if let Some(text) = wanted {
                let statement = self.client.prepare_typed(&text, &types).await?;
                if let Some(one) = self.known.borrow_mut().get_mut(sql) {
                    one.statement = Some(statement);
                }
            }
            let known = self.known.borrow();
            ready.push(known.get(sql).map(|one| match &one.statement {
                Some(statement) => Ready::Kept(statement.clone()),
                None => Ready::Text(Arc::clone(&one.text)),
            }));
        }
        Ok(ready)
    }

    fn send<'a>(&'a self, step: &'a Step<'_>, ready: Option<Ready>) -> Answering<'a> {
        match step {
            Step::Plain(text) => Box::pin(async move {
                self.client.batch_execute(text).await?;
                Ok(vec![])
            }),
            Step::Ask(_, params) => self.send_ready(
                ready,
                params.iter().map(|(value, kind)| (*value, kind.clone())),
            ),
            Step::Do(batch) => self.send_ready(
                ready,
                batch.values.iter().map(|(value, kind)| {
                    let value: &(dyn ToSql + Sync) = &**value;
                    (value, kind.clone())
                }),
            ),
        }
    }

    fn send_ready<'a>(
        &'a self,
        ready: Option<Ready>,
        params: impl Iterator<Item = Param<'a>>,
    ) -> Answering<'a> {
        let params: Vec<Param<'a>> = params.collect();
        Box::pin(async move {
            match ready {
                Some(Ready::Kept(statement)) => {
                    let values: Vec<_> = params.iter().map(|(value, _)| *value).collect();
                    Ok(self.client.query(&statement, &values).await?)
                }
                Some(Ready::Text(text)) => Ok(self.client.query_typed(&text, &params).await?),
                None => Ok(vec![]),
            }
        })
    }

    /// Text in which `@` stands for the schema of the store.
    pub(crate) fn in_schema(&self, sql: &str) -> String {
        sql.replace('@', &format!("\"{}\".", self.target.schema))
    }
}

/// A statement that can be sent.
enum Ready {
    Kept(Statement),
    Text(Arc<str>),
}

type Answering<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, Trouble>> + 'a>>;

enum Asked<'a> {
    Waits(Answering<'a>),
    Answered(Result<Vec<Row>, Trouble>),
}

impl Asked<'_> {
    fn into_answer(self) -> Result<Vec<Row>, Trouble> {
        match self {
            Self::Answered(answer) => answer,
            Self::Waits(_) => Ok(vec![]),
        }
    }
}

fn config_of(target: &Target) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    if target.host.starts_with('/') {
        config.host_path(&target.host);
    } else {
        config.host(&*target.host);
    }
    config
        .port(target.port)
        .user(&*target.user)
        .dbname(&*target.database)
        .ssl_mode(tls::mode(target.tls))
        .connect_timeout(target.connect_timeout)
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_secs(20))
        .application_name("crewboss");
    if let Some(password) = &target.password {
        config.password(password);
    }
    config
}
