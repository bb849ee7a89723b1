//! Where the server is and how it is spoken to. No message and no debug text shows the password.

use std::{fmt, path::PathBuf, time::Duration};

use app::error::Error;

/// The schema that holds a store where nothing else is said.
const SCHEMA: &str = "crewboss";

/// How the connection is protected, as libpq's `sslmode` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    Disable,
    /// Where the server offers it; whoever it is.
    Prefer,
    /// Always; whoever it is.
    Require,
    /// Always, with a certificate that a trusted authority has signed.
    VerifyCa,
    /// The same, and the certificate has to name the host.
    VerifyFull,
}

/// What stands between this program and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooler {
    /// Nothing: a connection is a session of the server.
    None,
    /// A pooler that gives each transaction another session: nothing may outlive a transaction.
    Transaction,
}

/// A database on a server, and the schema in it that holds the store.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    pub(crate) schema: String,
    pub(crate) tls: Tls,
    pub(crate) root_certificate: Option<PathBuf>,
    pub(crate) pooler: Pooler,
    pub(crate) connect_timeout: Duration,
    pub(crate) connections_max: usize,
}

/// The parts of [`Target`] as a document's variables name them.
#[derive(Clone, Default)]
pub struct Parts<'a> {
    /// `DB_HOST`: a name, an address, or a folder with a socket.
    pub host: Option<&'a str>,
    /// `DB_PORT`.
    pub port: Option<&'a str>,
    /// `DB_NAME`.
    pub database: Option<&'a str>,
    /// `DB_USER`.
    pub user: Option<&'a str>,
    /// `DB_PASSWORD`.
    pub password: Option<&'a str>,
}

impl fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// As a URL, with `***` for the password.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}", escaped(&self.user))?;
        if self.password.is_some() {
            f.write_str(":***")?;
        }
        if self.host.starts_with('/') {
            write!(
                f,
                "@:{}/{}?host={}",
                self.port,
                escaped(&self.database),
                self.host
            )?;
        } else {
            let host = if self.host.contains(':') {
                format!("[{}]", self.host)
            } else {
                self.host.clone()
            };
            write!(f, "@{host}:{}/{}", self.port, escaped(&self.database))?;
        }
        let separator = if self.host.starts_with('/') { '&' } else { '?' };
        if self.schema == SCHEMA {
            return Ok(());
        }
        write!(f, "{separator}schema={}", self.schema)
    }
}

impl Target {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`.
    ///
    /// # Errors
    /// [`Error::Invalid`], which shows no part of the text.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let rest = ["postgres://", "postgresql://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme))
            .ok_or_else(|| wrong("it begins with postgres://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A password that was not escaped may hold an @ or a slash.
        let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (host, database) = place.split_once('/').unwrap_or((place, ""));
        let mut target = Self::bare();
        let (user, password) = match user.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (user, None),
        };
        target.user = unescaped(user, "user")?;
        target.password = password
            .map(|password| unescaped(password, "password"))
            .transpose()?;
        target.database = unescaped(database, "database")?;
        target.place(host)?;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            target.parameter(name, &unescaped(value, "a parameter")?)?;
        }
        target.finish()
    }

    /// Puts the parts of an address together.
    ///
    /// # Errors
    /// [`Error::Invalid`] where one of them cannot be right.
    pub fn of_parts(parts: &Parts<'_>) -> Result<Self, Error> {
        let mut target = Self::bare();
        let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
        target.host = text(parts.host);
        target.database = text(parts.database);
        target.user = text(parts.user);
        target.password = parts.password.map(str::to_owned);
        if let Some(port) = parts.port {
            target.port = number(port, "DB_PORT")?;
        }
        target.finish()
    }

    /// The same behind another kind of pooler.
    #[must_use]
    pub fn behind(self, pooler: Pooler) -> Self {
        Self { pooler, ..self }
    }

    /// The same with another password, where it has none.
    #[must_use]
    pub fn with_password(self, password: Option<String>) -> Self {
        Self {
            password: self.password.or(password),
            ..self
        }
    }

    /// Everything that a process of ours needs to reach the same store, password included: for a
    /// descriptor, never for an argument or a variable.
    #[must_use]
    pub fn secret_url(&self) -> String {
        use std::fmt::Write as _;
        let mut url = format!("postgres://{}", escaped(&self.user));
        if let Some(password) = &self.password {
            let _ = write!(url, ":{}", escaped(password));
        }
        let _ = write!(
            url,
            "@:{}/{}?host={}&schema={}&sslmode={}&pooler={}&connect_timeout={}&connections={}",
            self.port,
            escaped(&self.database),
            escaped(&self.host),
            self.schema,
            self.tls.as_str(),
            match self.pooler {
                Pooler::None => "none",
                Pooler::Transaction => "transaction",
            },
            self.connect_timeout.as_secs(),
            self.connections_max,
        );
        if let Some(file) = &self.root_certificate {
            let _ = write!(url, "&sslrootcert={}", escaped(&file.to_string_lossy()));
        }
        url
    }

    /// What tells this store from others: the same for every process that means the same one, and
    /// without the password.
    #[must_use]
    pub fn identity(&self) -> String {
        let (host, port, database) = (&self.host, self.port, &self.database);
        format!("{host}:{port}/{database}/{}", self.schema)
    }

    /// Server and database, for messages.
    pub(crate) fn place_name(&self) -> String {
        let (host, port) = (&self.host, self.port);
        format!("PostgreSQL at {host}:{port}, database {}", self.database)
    }

    fn bare() -> Self {
        Self {
            host: String::new(),
            port: 5_432,
            database: String::new(),
            user: String::new(),
            password: None,
            schema: SCHEMA.to_owned(),
            tls: Tls::Prefer,
            root_certificate: None,
            pooler: Pooler::None,
            connect_timeout: Duration::from_secs(2),
            connections_max: 20,
        }
    }

    fn place(&mut self, host: &str) -> Result<(), Error> {
        let (name, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (name, rest) = rest.split_once(']').ok_or_else(|| wrong("[ wants a ]"))?;
                (name, rest.strip_prefix(':'))
            }
            None => match host.rsplit_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (host, None),
            },
        };
        if name.contains(',') {
            return Err(wrong("one host is named, not several"));
        }
        self.host = unescaped(name, "host")?;
        if let Some(port) = port.filter(|port| !port.is_empty()) {
            self.port = number(port, "port")?;
        }
        Ok(())
    }

    fn parameter(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let value = value.to_owned();
        match name {
            "host" => self.host = value,
            "port" => self.port = number(&value, "port")?,
            "user" => self.user = value,
            "password" => self.password = Some(value),
            "dbname" => self.database = value,
            "schema" => self.schema = value,
            "sslmode" => self.tls = Tls::parse(&value)?,
            "sslrootcert" => self.root_certificate = Some(PathBuf::from(value)),
            "connect_timeout" => {
                self.connect_timeout = Duration::from_secs(number(&value, "connect_timeout")?);
            }
            "connections" => self.connections_max = number(&value, "connections")?,
            "pooler" => self.pooler = Pooler::parse(&value)?,
            "application_name" => {}
            // What follows a ? that was not escaped may be of the password.
            _ => {
                return Err(wrong(
                    "its parameters are host, port, user, password, dbname, schema, sslmode, \
                     sslrootcert, connect_timeout, connections and pooler; a ? of a password is %3F",
                ));
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Self, Error> {
        if self.host.is_empty() {
            "localhost".clone_into(&mut self.host);
        }
        if self.user.is_empty() {
            return Err(wrong("it names no user"));
        }
        if self.database.is_empty() {
            self.database.clone_from(&self.user);
        }
        if self.connect_timeout.is_zero() {
            return Err(wrong("connect_timeout is a number of seconds from 1"));
        }
        if self.connections_max == 0 {
            return Err(wrong("connections is a number from 1"));
        }
        let is_word = |text: &str| {
            !text.is_empty()
                && text.len() <= 63
                && !text.starts_with(|c: char| c.is_ascii_digit())
                && text
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        if !is_word(&self.schema) {
            return Err(wrong(
                "schema is a word of lower-case letters, digits and _, with at most 63 of them",
            ));
        }
        Ok(self)
    }
}

impl Tls {
    fn parse(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "disable" => Self::Disable,
            "allow" | "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => {
                return Err(wrong(
                    "sslmode is one of disable, prefer, require, verify-ca, verify-full",
                ));
            }
        })
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl Pooler {
    /// What the configuration says.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it is neither `none` nor `transaction`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "" | "none" | "session" => Ok(Self::None),
            "transaction" => Ok(Self::Transaction),
            _ => Err(wrong("pooler is none, session or transaction")),
        }
    }
}

fn wrong(what: &str) -> Error {
    Error::invalid("store address", format!("is not right: {what}"))
}

fn number<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, Error> {
    text.parse()
        .map_err(|_| wrong(&format!("{what} is no number that can be one")))
}

/// Every byte but letters, digits and a few marks as `%XX`.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(
                [byte >> 4, byte & 15]
                    .map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])),
            );
        }
        out
    })
}

fn unescaped(text: &str, what: &str) -> Result<String, Error> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'%' {
            let digits = bytes.get(at + 1..at + 3);
            let value = digits
                .and_then(|digits| std::str::from_utf8(digits).ok())
                .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                .ok_or_else(|| {
                    wrong(&format!("a % of its {what} is not followed by two digits"))
                })?;
            out.push(value);
            at += 3;
        } else {
            out.push(*byte);
            at += 1;
        }
    }
    String::from_utf8(out).map_err(|_| wrong(&format!("its {what} is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shown_without_its_password() {
        let target =
            Target::parse("postgres://ada:p%40ss@db.example:5433/work?sslmode=require&schema=x")
                .unwrap();
        assert_eq!(target.password.as_deref(), Some("p@ss"));
        assert_eq!((target.port, target.tls), (5_433, Tls::Require));
        assert_eq!(
            target.to_string(),
            "postgres://ada:***@db.example:5433/work?schema=x"
        );
        assert!(!format!("{target:?}").contains("p@ss"));
        assert_eq!(Target::parse(&target.secret_url()).unwrap(), target);
    }

    #[test]
    fn a_socket_and_a_bare_address_are_read() {
        let target = Target::parse("postgresql://ada@/work?host=/run/pg").unwrap();
        assert_eq!((&*target.host, &*target.database), ("/run/pg", "work"));
        assert_eq!(Target::parse(&target.secret_url()).unwrap(), target);
        let target = Target::parse("postgres://ada@[::1]:9/").unwrap();
        assert_eq!(
            (&*target.host, target.port, &*target.database),
            ("::1", 9, "ada")
        );
    }

    #[test]
    fn what_is_wrong_is_said_and_no_secret_with_it() {
        for url in [
            "mysql://ada:hunter2@h/d",
            "postgres://ada:hunter2@h:port/d",
            "postgres://ada:hunter2@h/d?sslmode=hunter2",
            "postgres://ada:hunter2@h/d?schema=hunter2;DROP",
            "postgres://ada:hunter2%zz@h/d",
            "postgres://ada:hunter2@h/d?x=hunter2",
            "postgres://ada:x?hunter2@h/d",
            "postgres://:hunter2@h/d",
            "postgres://ada:hunter2@h/d?connect_timeout=0",
        ] {
            let error = Target::parse(url).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        // What was not escaped belongs to the password, not to the host.
        let target = Target::parse("postgres://ada:hunter2@x/y@h/d").unwrap();
        assert_eq!(
            (&*target.host, target.password.as_deref()),
            ("h", Some("hunter2@x/y"))
        );
    }
}
