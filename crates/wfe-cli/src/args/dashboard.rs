use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::{examples, length};

/// Serve pages about the store for a browser, until Ctrl-C
///
/// Prints an address with a code, which signs one browser in for twelve hours. The pages act as --as, with all rights; with
/// --read-only they only show. Other machines reach the pages only with --bind, and then sign in with a token. The pages are
/// not encrypted: put a proxy with TLS before them.
#[derive(Debug, Args)]
#[command(after_help = examples::DASHBOARD)]
pub(crate) struct DashboardArgs {
    /// The port; 0 takes one that is free
    #[arg(long, default_value_t = 4400)]
    pub(crate) port: u16,
    /// Serve on this address, for other machines [default: 127.0.0.1]
    #[arg(long, value_name = "ADDR", requires = "token_file")]
    pub(crate) bind: Option<IpAddr>,
    /// Tokens to sign in with: lines of ROLE NAME SECRET, where ROLE is viewer, operator or admin
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// A name under which browsers reach the pages, besides localhost and addresses in numbers; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Vec<String>,
    /// End after this time
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    pub(crate) time: Option<Duration>,
}
