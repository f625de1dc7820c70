//! The command's own papers: completion for shells, manual pages.

use std::{fs, io, path::Path};

use clap::CommandFactory;

use crate::{
    args::{Cli, Completion, Man},
    failure::{Exit, Failure, Result},
    output::{note, print},
};

pub(crate) fn completion(args: &Completion) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "wfe", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

pub(crate) fn man(args: &Man) -> Result<Exit> {
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        print(&String::from_utf8_lossy(&page))?;
        return Ok(Exit::Done);
    };
    let pages = write(folder).map_err(|error| {
        Failure::new(Exit::Refused, format!("cannot write to {}: {error}", folder.display()))
    })?;
    note(&format!("wrote {pages} pages to {}", folder.display()));
    Ok(Exit::Done)
}

/// Writes the page of the command, and one for each of its commands. Returns how many.
fn write(folder: &Path) -> io::Result<usize> {
    fs::create_dir_all(folder)?;
    let mut command = Cli::command();
    command.build();
    pages(&command, folder)
}

fn pages(command: &clap::Command, folder: &Path) -> io::Result<usize> {
    let man = clap_mangen::Man::new(command.clone());
    man.generate_to(folder)?;
    let mut count = 1;
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        count += pages(inner, folder)?;
    }
    Ok(count)
}
