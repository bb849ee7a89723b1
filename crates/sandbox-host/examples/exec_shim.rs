//! The shim as a program of its own, for the tests.

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    drop(sandbox_host::exec_shim(&args));
    std::process::ExitCode::from(127)
}

#[cfg(not(target_os = "linux"))]
fn main() {}
