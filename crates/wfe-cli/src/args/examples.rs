//! The end of each command's help: three examples. A test runs each of them against a store that it makes.

macro_rules! examples {
    ($($name:ident: $first:literal, $second:literal, $third:literal;)*) => {
        $(pub(super) const $name: &str = concat!("Examples:\n  ", $first, "\n  ", $second, "\n  ", $third);)*
    };
}

/// The exit codes, in the long help.
macro_rules! with_exit_codes {
    ($examples:literal) => {
        concat!(
            $examples,
            "\n\nExit codes:\n  \
             0    done, also if a list without a filter is empty\n  \
             1    a filter was given and nothing matched; unsound; what was waited for ended badly\n  \
             2    wrong usage\n  \
             3    no such id, reference or definition\n  \
             4    refused: by the state, by rights, or not confirmed\n  \
             5    the store is busy, or the time is over\n  \
             6    the store cannot be used\n  \
             7    done in part\n  \
             130  interrupted\n\n\
             Environment:\n  \
             WFE_DB          the store, if --db is not given\n  \
             PAGER           shows what is longer than the screen [default: less -FRX]; empty: nothing does\n  \
             NO_COLOR        no colours, if it is not empty\n  \
             CLICOLOR_FORCE  colours also in a pipe, if it is neither empty nor 0\n\n\
             Data goes to standard output, all else to standard error. On a terminal, lists are tables; in a pipe, \
             they are separated by tabs, with full ids and times in RFC 3339 (UTC). With --json, each object has \
             \"v\":1, the version of its shape."
        )
    };
}

pub(super) const WFE: &str = "Examples:\n  wfe --db state.db list --status suspended\n  wfe why order/order-17\n  wfe help resume\n\nExit codes and environment: wfe --help";
pub(super) const WFE_LONG: &str = with_exit_codes!(
    "Examples:\n  wfe --db state.db list --status suspended\n  wfe why order/order-17\n  wfe help resume"
);

examples! {
    LIST: "wfe list --status suspended,due --since 2d",
        "wfe list --definition order@3 --waits event:approved",
        "wfe list --code card_declined --columns id,reference,message";
    SHOW: "wfe show order/order-17",
        "wfe show order/order-22 --all",
        "wfe show order/order-17 order/order-22 --json";
    WHY: "wfe why order/order-17",
        "wfe why --event approved order-17",
        "wfe why --stuck";
    TAIL: "wfe tail --for 1s",
        "wfe tail order/order-17 --for 1s",
        "wfe tail --definition order --json --for 1s";
    WAIT: "wfe wait order/order-1",
        "wfe wait order/order-1 --timeout 30s",
        "wfe wait order/order-1 --json";
    ERRORS: "wfe errors",
        "wfe errors --by code --status suspended",
        "wfe errors --each order/order-22";
    DEFINITIONS: "wfe definitions",
        "wfe definitions order@3",
        "wfe definitions order --diff 2 3";
    GRAPH: "wfe graph order",
        "wfe graph order@3 --format svg --counts",
        "wfe graph --of order/order-17";
    HOSTS: "wfe hosts",
        "wfe hosts --json",
        "wfe hosts --columns owner,program,definitions";
    STATS: "wfe stats",
        "wfe stats --json",
        "wfe stats --utc";
    AUDIT: "wfe audit",
        "wfe audit --since 7d --limit 20",
        "wfe audit --json";
    DOCTOR: "wfe doctor",
        "wfe doctor --json",
        "wfe doctor --columns weight,code,advice";
    DASHBOARD: "wfe dashboard --port 0 --for 1s",
        "wfe dashboard --port 0 --read-only --for 1s",
        "wfe dashboard --port 0 --as 'Ms Weber' --for 1s";

    START: "wfe start order --data '{\"lines\":[]}' --reference order-99",
        "echo '{\"lines\":[]}' | wfe start order@3 --data -",
        "wfe start order --data '{\"lines\":[]}' --attr customer=Ann --reason 'asked by phone'";
    PUBLISH: "wfe publish approved order-17 '\"Ms Weber\"'",
        "wfe publish approved order-18 --id approval-of-order-18",
        "wfe publish approved order-19 '\"Ms Weber\"' --effective 2h";
    SUSPEND: "wfe suspend order/order-17",
        "wfe suspend --all --definition order --status waiting --reason 'the bank is closed' --dry-run",
        "wfe suspend --all --waits event:approved --yes";
    RESUME: "wfe resume order/order-22",
        "wfe resume --all --status suspended --dry-run",
        "wfe resume --all --status suspended --code card_declined --yes --rate 50/s";
    RETRY: "wfe retry order/order-23",
        "wfe retry order/order-24 --reason 'the bank is open again'",
        "wfe retry --all --ending failed --failed-at ship --dry-run";
    RESTART: "wfe restart order/order-23",
        "wfe restart order/order-24 --data '{\"lines\":[]}'",
        "wfe restart --all --ending failed --definition order --dry-run";
    SKIP: "wfe skip order/order-22",
        "wfe skip --all --status suspended --failed-at charge --dry-run",
        "wfe skip --all --status suspended --code card_declined --yes";
    RESUME_FROM: "wfe resume-from charge order/order-22",
        "wfe resume-from approval --all --status suspended --dry-run",
        "wfe resume-from ship order/order-21 --reason 'paid by hand'";
    CANCEL: "wfe cancel order/order-17",
        "wfe cancel --all --definition order --status waiting --dry-run",
        "wfe cancel order/order-18 order/order-19 --yes --reason 'out of stock'";
    TERMINATE: "wfe terminate order/order-17",
        "wfe terminate --all --status suspended --dry-run",
        "wfe terminate order/order-18 --reason 'started twice'";
    ACK: "wfe ack order/order-23",
        "wfe ack --all --ending failed --code no_stock --yes",
        "wfe ack order/order-23 --revert";
    TASKS: "wfe tasks list",
        "wfe tasks show invoice/inv-1",
        "wfe tasks answer invoice/inv-1 approve";
    TASKS_LIST: "wfe tasks list",
        "wfe tasks list --assignee 'Mr Bell'",
        "wfe tasks list --json";
    TASKS_SHOW: "wfe tasks show invoice/inv-1",
        "wfe tasks show invoice/inv-1 --json",
        "wfe tasks show invoice/inv-2 --utc";
    TASKS_ANSWER: "wfe tasks answer invoice/inv-1 approve",
        "wfe tasks answer invoice/inv-2 reject --reason 'wrong address'",
        "wfe tasks answer invoice/inv-3 approve --data '{\"by\":\"Mr Bell\"}'";
    ACTIVITIES: "wfe activities list",
        "wfe activities list --name render-pdf",
        "wfe activities release printing/print-1 --yes";
    ACTIVITIES_LIST: "wfe activities list",
        "wfe activities list --name render-pdf",
        "wfe activities list --json";
    ACTIVITIES_RELEASE: "wfe activities release printing/print-1 --yes",
        "wfe activities release printing/print-1 --yes --reason 'the printer is on fire'",
        "wfe activities release printing/print-2 --yes --json";
    SCHEDULES: "wfe schedules list",
        "wfe schedules show nightly",
        "wfe schedules pause nightly";
    SCHEDULES_LIST: "wfe schedules list",
        "wfe schedules list --json",
        "wfe schedules list --columns id,next";
    SCHEDULES_SHOW: "wfe schedules show nightly",
        "wfe schedules show nightly --json",
        "wfe schedules show nightly --zone Europe/Berlin";
    SCHEDULES_CREATE: "wfe schedules create weekly order --cron '0 3 * * 1' --data '{\"lines\":[]}'",
        "wfe schedules create often order@3 --every 15m --data '{\"lines\":[]}'",
        "wfe schedules create morning order --cron '0 7 * * *' --cron-zone Europe/Berlin --paused";
    SCHEDULES_PAUSE: "wfe schedules pause nightly",
        "wfe schedules pause nightly --reason 'stocktaking'",
        "wfe schedules pause nightly --as ann";
    SCHEDULES_RESUME: "wfe schedules resume nightly",
        "wfe schedules resume nightly --reason 'stocktaking is over'",
        "wfe schedules resume nightly --as ann";
    SCHEDULES_TRIGGER: "wfe schedules trigger nightly",
        "wfe schedules trigger nightly --reason 'the night was too short'",
        "wfe schedules trigger nightly --json";
    SCHEDULES_DELETE: "wfe schedules delete nightly --yes",
        "wfe schedules delete yearly --yes --reason 'not needed any more'",
        "wfe schedules delete monthly --yes --json";

    PURGE: "wfe purge --older 30d --dry-run",
        "wfe purge --older 30d --ending completed --yes",
        "wfe purge --older 1w --definition order --yes --reason 'end of the season'";
    PURGE_EVENTS: "wfe purge-events --older 30d --yes",
        "wfe purge-events --older 1w --yes --reason 'the disk is full'",
        "wfe purge-events --older 52w --yes --json";
    DELETE: "wfe delete order/order-1 --yes",
        "wfe delete --all --ending completed --definition order --dry-run",
        "wfe delete order/order-2 --yes --reason 'asked by the customer'";
    BACKUP: "wfe backup backup-1.db",
        "wfe backup backup-2.db --reason 'before the upgrade'",
        "wfe backup backup-3.db --json";
    CHECK: "wfe check",
        "wfe check --quick",
        "wfe check --json";
    COMPACT: "wfe compact",
        "wfe compact --reason 'after the purge'",
        "wfe compact --json";
    CHECKPOINT: "wfe checkpoint",
        "wfe checkpoint --truncate",
        "wfe checkpoint --json";
    UPGRADE: "wfe upgrade --dry-run",
        "wfe upgrade --yes",
        "wfe upgrade --dry-run --json";

    COMPLETION: "wfe completion bash > wfe.bash",
        "wfe completion zsh > _wfe",
        "wfe completion fish > wfe.fish";
    MAN: "wfe man",
        "wfe man man1",
        "wfe man > wfe.1";
}
