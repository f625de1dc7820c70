//! The dashboard in a browser: Debian's packages `chromium` and `chromium-driver`. Where they are not installed, these tests
//! say so and pass, unless the variable `WFE_DEMAND_BROWSER` is set.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

mod acts;
mod harness;
mod itself;
mod pages;
mod site;

use std::{env, pin::Pin, process::ExitCode, sync::Arc};

use harness::Driver;
use libtest_mimic::{Arguments, Trial};

/// Set by the gate, which installs the browser: the tests fail where they cannot run.
const DEMAND_BROWSER: &str = "WFE_DEMAND_BROWSER";

type Test = for<'a> fn(&'a Driver) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

macro_rules! tests {
    ($($module:ident::$test:ident),* $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($test)), |driver| Box::pin($module::$test(driver)))),*]
    };
}

const TESTS: &[(&str, Test)] = tests![
    itself::a_page_without_faults_has_none,
    itself::faults_of_a_page_are_found,
    itself::a_form_is_filled_in_and_sent,
    itself::scripts_can_be_switched_off,
    pages::each_page_is_without_faults,
    acts::an_instance_is_found_and_resumed,
    acts::an_instance_is_found_and_resumed_without_scripts,
    acts::all_that_match_are_resumed_and_each_tab_sees_it,
    acts::what_another_process_writes_is_seen_without_a_reload,
    acts::the_keyboard_is_enough,
];

fn main() -> ExitCode {
    if site::write_for_another().is_some() {
        return ExitCode::SUCCESS;
    }
    let Some(driver) = Driver::start() else {
        println!(
            "not run: the tests in a browser need chromium and chromedriver (Debian: chromium, chromium-driver)"
        );
        return if env::var_os(DEMAND_BROWSER).is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    };
    let driver = Arc::new(driver);
    let trials = TESTS.iter().map(|&(name, test)| {
        let driver = Arc::clone(&driver);
        Trial::test(name, move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(test(&driver));
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
