//! Where a server is, and what it wants to be told first.

use std::{fmt, path::PathBuf};

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo};

/// The port where nobody says another.
const PORT: u16 = 6379;

/// A server. Its text never holds a credential.
#[derive(Clone)]
pub struct Address {
    at: ConnectionAddr,
    user: Option<String>,
    password: Option<String>,
    database: i64,
}

/// A text that says no server. What was said is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidAddress(String);

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidAddress {}

impl Address {
    /// The server of `redis://[user][:password@]host[:port][/database]` or `unix:///path`.
    ///
    /// # Errors
    /// [`InvalidAddress`] where it is neither, or asks for an encrypted connection.
    pub fn of_url(url: &str) -> Result<Self, InvalidAddress> {
        let expected = "expected redis://[user][:password@]host[:port][/database], or unix:///path";
        let info = url
            .into_connection_info()
            .map_err(|_| InvalidAddress(expected.to_owned()))?;
        if !info.addr().is_supported() {
            let why = "encrypted connections to Redis are not supported: reach it over a tunnel";
            return Err(InvalidAddress(why.to_owned()));
        }
        let settings = info.redis_settings();
        Ok(Self {
            at: info.addr().clone(),
            user: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
            database: settings.db(),
        })
    }

    /// A server by its parts, as they stand in single variables.
    #[must_use]
    pub fn of_parts(
        host: &str,
        port: Option<u16>,
        user: Option<&str>,
        password: Option<&str>,
        database: Option<u16>,
    ) -> Self {
        let at = if host.starts_with('/') {
            ConnectionAddr::Unix(PathBuf::from(host))
        } else {
            ConnectionAddr::Tcp(host.to_owned(), port.unwrap_or(PORT))
        };
        Self {
            at,
            user: user.map(str::to_owned),
            password: password.map(str::to_owned),
            database: database.map_or(0, i64::from),
        }
    }

    /// Where to connect, without a word that would be said there.
    pub(crate) fn bare(&self) -> Result<ConnectionInfo, redis::RedisError> {
        let silent = RedisConnectionInfo::default().set_skip_set_lib_name();
        Ok(self
            .at
            .clone()
            .into_connection_info()?
            .set_redis_settings(silent))
    }

    /// What has to be said first.
    pub(crate) fn greetings(&self) -> Vec<redis::Cmd> {
        let mut greetings = Vec::new();
        if let Some(password) = &self.password {
            let mut auth = redis::cmd("AUTH");
            if let Some(user) = &self.user {
                auth.arg(user);
            }
            auth.arg(password);
            greetings.push(auth);
        }
        if self.database != 0 {
            let mut select = redis::cmd("SELECT");
            select.arg(self.database);
            greetings.push(select);
        }
        greetings
    }
}

/// `host:port`, or the path of a socket.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            ConnectionAddr::Unix(path) => write!(f, "{}", path.display()),
            ConnectionAddr::Tcp(host, port) => write!(f, "{host}:{port}"),
            _ => f.write_str("a server"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_it_holds_a_credential() {
        let address = Address::of_url("redis://ada:s3cret@example.org:7000/2").unwrap();
        assert_eq!(address.to_string(), "example.org:7000");
        assert_eq!(format!("{address:?}"), "Address(example.org:7000)");
        assert_eq!(address.greetings().len(), 2);
        let socket = Address::of_url("unix:///run/redis.sock").unwrap();
        assert_eq!(socket.to_string(), "/run/redis.sock");
        assert!(socket.greetings().is_empty());
        for bad in [
            "",
            "http://ada:s3cret@x",
            "redis://ada:s3cret@",
            "rediss://ada:s3cret@x",
        ] {
            let refused = Address::of_url(bad).unwrap_err().to_string();
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn parts_make_the_same_address() {
        let address = Address::of_parts("example.org", None, None, Some("s3cret"), Some(1));
        assert_eq!(address.to_string(), "example.org:6379");
        assert_eq!(address.greetings().len(), 2);
        let socket = Address::of_parts("/run/redis.sock", Some(1), None, None, None);
        assert_eq!(socket.to_string(), "/run/redis.sock");
    }
}
