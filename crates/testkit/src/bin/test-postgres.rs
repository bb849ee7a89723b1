//! A PostgreSQL server for tests: prints its address, and ends when its input does.

use std::{
    io::{self, Read as _, Write as _},
    process::ExitCode,
};

use testkit::postgres::{Durability, Server};

fn main() -> io::Result<ExitCode> {
    let Some(mut server) = Server::start(Durability::None) else {
        return Ok(ExitCode::FAILURE);
    };
    server.stop_in_order();
    server.set("max_connections=300");
    server.start_again();
    writeln!(io::stdout(), "{}", server.url())?;
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(server);
    Ok(ExitCode::SUCCESS)
}
