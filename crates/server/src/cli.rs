//! The command line: commands, and one flag for each setting that a command uses.
//!
//! It only parses; what a command does is in `commands` and `roles`. Flags come from the table in `settings`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use runtime::config::{Kind, Setting};

use crate::settings;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// The command.
    pub(crate) task: Task,
    /// Flags by setting name.
    pub(crate) flags: BTreeMap<String, String>,
    /// The configuration file.
    pub(crate) config: Option<PathBuf>,
    /// Whether results are JSON.
    pub(crate) is_json: bool,
}

/// The commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    /// Every role in one process.
    Up,
    /// The control plane.
    Control,
    /// A node.
    Gateway,
    /// Apply migrations.
    Migrate,
    /// Check the installation.
    Doctor,
    /// Print the effective configuration.
    Config,
    /// Check an exported audit log.
    AuditVerify {
        /// The file.
        file: PathBuf,
        /// The public key that must have signed it.
        public_key: Option<String>,
    },
    /// Make a new password and access token for the owner.
    AdminReset,
    /// Declare that the database was restored from a backup.
    AdminRestored,
    /// Make a one-time password for a person.
    AdminResetPassword {
        /// Their address.
        email: String,
    },
    /// Replace the root key.
    AdminRotateRootKey,
}

/// Reads the command line; prints help or an error and gives the exit code when there is nothing to do.
pub(crate) fn parse(arguments: impl Iterator<Item = std::ffi::OsString>) -> Result<Invocation, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let (name, inner) = matches.subcommand().unwrap_or(("", &matches));
    let (task, inner) = match (name, inner.subcommand()) {
        ("up", _) => (Task::Up, inner),
        ("control", _) => (Task::Control, inner),
        ("gateway", _) => (Task::Gateway, inner),
        ("migrate", _) => (Task::Migrate, inner),
        ("doctor", _) => (Task::Doctor, inner),
        ("config", _) => (Task::Config, inner),
        ("audit", Some((_, verify))) => {
            let file = verify.get_one::<PathBuf>("file").cloned().unwrap_or_default();
            (Task::AuditVerify { file, public_key: verify.get_one::<String>("public_key").cloned() }, verify)
        }
        ("admin", Some(("restored", restored))) => (Task::AdminRestored, restored),
        ("admin", Some(("reset-password", inner))) => {
            (Task::AdminResetPassword { email: inner.get_one::<String>("email").cloned().unwrap_or_default() }, inner)
        }
        ("admin", Some(("rotate-root-key", inner))) => (Task::AdminRotateRootKey, inner),
        ("admin", Some((_, reset))) => (Task::AdminReset, reset),
        _ => {
            return Err(
                command().error(clap::error::ErrorKind::MissingSubcommand, "a command is needed; try `headgate up`")
            );
        }
    };
    Ok(Invocation {
        task,
        flags: read_flags(inner),
        config: inner.try_get_one::<PathBuf>("config").ok().flatten().cloned(),
        is_json: inner.try_get_one::<bool>("json").ok().flatten().copied().unwrap_or(false),
    })
}

fn read_flags(matches: &ArgMatches) -> BTreeMap<String, String> {
    let given = |setting: &Setting| {
        let value = matches.try_get_one::<String>(setting.name).ok().flatten()?;
        Some((setting.name.to_owned(), value.clone()))
    };
    settings::all().iter().filter_map(given).collect()
}

fn command() -> Command {
    let control =
        [settings::DATABASE, settings::ROOT_KEY, settings::STATE, settings::CONTROL, settings::EGRESS].concat();
    let up = [control.as_slice(), settings::GATEWAY].concat();
    let gateway = [settings::STATE, settings::EGRESS, settings::GATEWAY, settings::LINK].concat();
    let verify = Command::new("verify")
        .about("Checks an exported audit log offline: chain, checkpoints, signatures")
        .arg(Arg::new("file").required(true).value_parser(value_parser!(PathBuf)).help("The exported file"))
        .arg(
            Arg::new("public_key")
                .long("public-key")
                .help("The key that must have signed the checkpoints; unset: the one in the file"),
        );
    let admin = [settings::DATABASE, settings::ROOT_KEY].concat();
    let reset = with_settings(Command::new("reset"), &admin)
        .about("Makes a new password, access token and virtual key for the owner of the first organization");
    let reset_password = with_settings(Command::new("reset-password"), &admin)
        .about("Makes a one-time password for a person of any organization and ends their sessions")
        .arg(Arg::new("email").required(true).help("The person's address"));
    let restored = with_settings(Command::new("restored"), &admin)
        .about("Declares that the database was restored from a backup, so that nodes take the restored state");
    let rotate = with_settings(Command::new("rotate-root-key"), &admin)
        .about("Replaces the root key; keys, tokens, passwords and credentials go on working");
    let admin = Command::new("admin").about("What whoever runs the machine may do").subcommand_required(true);
    let admin = admin.subcommand(reset).subcommand(reset_password).subcommand(restored).subcommand(rotate);
    Command::new("headgate")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A gateway between your applications and language models: keys, routes, usage and cost in one place")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            with_settings(Command::new("up"), &up).about("Starts every role in one process, on embedded defaults"),
        )
        .subcommand(with_settings(Command::new("control"), &control).about("Starts the control plane"))
        .subcommand(with_settings(Command::new("gateway"), &gateway).about("Starts a gateway node"))
        .subcommand(
            with_settings(Command::new("migrate"), settings::DATABASE).about("Applies missing database migrations"),
        )
        .subcommand(with_settings(Command::new("doctor"), &up).about("Checks the installation and says what to mend"))
        .subcommand(
            with_settings(Command::new("config"), &[up.as_slice(), settings::LINK].concat())
                .about("Prints the effective configuration, secrets hidden"),
        )
        .subcommand(Command::new("audit").about("Audit logs").subcommand_required(true).subcommand(verify))
        .subcommand(admin)
}

fn with_settings(command: Command, settings: &[Setting]) -> Command {
    let command = command
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Configuration file (TOML) [env: HEADGATE_CONFIG]"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print results as JSON, and nothing else on standard output"),
        );
    settings::COMMON.iter().chain(settings).fold(command, |command, setting| command.arg(flag_of(setting)))
}

fn flag_of(setting: &Setting) -> Arg {
    let default = setting.default.map(|value| format!(" [default: {value}]")).unwrap_or_default();
    let arg = Arg::new(setting.name)
        .long(setting.flag())
        .help(format!("{} [env: {}]{default}", setting.help, setting.variable()))
        // Given twice, the later one counts, so that a wrapper's flags can be overridden.
        .overrides_with(setting.name);
    match setting.kind {
        Kind::Switch => arg.num_args(0..=1).default_missing_value("true").value_name("BOOL").require_equals(true),
        Kind::Path => arg.value_name("PATH"),
        Kind::Address => arg.value_name("IP:PORT"),
        Kind::Count => arg.value_name("N"),
        Kind::Duration => arg.value_name("TIME"),
        Kind::Bytes => arg.value_name("SIZE"),
        Kind::List => arg.value_name("LIST"),
        Kind::Url => arg.value_name("URL"),
        Kind::Text | Kind::Secret => arg.value_name("TEXT"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, clap::Error> {
        parse(line.split(' ').map(Into::into))
    }

    #[test]
    fn the_command_tree_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn flags_reach_their_settings() {
        let up = parsed("headgate up --json --gateway-addr 127.0.0.1:1 --gateway-addr 127.0.0.1:2 --auto-migrate");
        let up = up.expect("a valid line");
        assert_eq!((up.task, up.is_json), (Task::Up, true));
        assert_eq!(up.flags["gateway_addr"], "127.0.0.1:2");
        assert_eq!(up.flags["auto_migrate"], "true");
    }

    #[test]
    fn a_command_takes_only_its_own_flags() {
        assert!(parsed("headgate control --gateway-addr 127.0.0.1:1").is_err());
        assert!(parsed("headgate gateway --control https://c:7401 --join-token hgj_x").is_ok());
        assert!(parsed("headgate migrate --sync-addr 127.0.0.1:1").is_err());
        assert!(parsed("headgate").is_err());
    }

    /// What a person reads who asks a command for help, without the line breaks of a terminal.
    fn help_of(name: &str) -> String {
        let help = parsed(&format!("headgate {name} --help")).expect_err("help is given instead of a task");
        help.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn names(help: &str, setting: &Setting) -> bool {
        let variable = format!("[env: {}]", setting.variable());
        help.split(' ').any(|word| word.trim_end_matches("[=<BOOL>]") == format!("--{}", setting.flag()))
            && help.contains(&variable)
    }

    #[test]
    fn help_lists_every_setting_of_its_command_and_that_of_config_all() {
        for setting in settings::all() {
            assert!(names(&help_of("config"), setting), "`headgate config --help` lacks {}", setting.name);
        }
        let of_up = help_of("up");
        for setting in settings::all() {
            let is_link = settings::LINK.iter().any(|it| it.name == setting.name);
            assert_eq!(names(&of_up, setting), !is_link, "`headgate up` is its own control plane: {}", setting.name);
        }
        let of_gateway = help_of("gateway");
        for setting in settings::LINK.iter().chain(settings::GATEWAY) {
            assert!(names(&of_gateway, setting), "`headgate gateway --help` lacks {}", setting.name);
        }
    }

    #[test]
    fn acts_of_the_operator_are_told_apart() {
        let task = |line: &str| parsed(line).expect("a valid line").task;
        assert_eq!(task("headgate admin reset --json"), Task::AdminReset);
        let email = "ada@example.com".to_owned();
        assert_eq!(task("headgate admin reset-password ada@example.com"), Task::AdminResetPassword { email });
        assert_eq!(task("headgate admin rotate-root-key --root-key-file k"), Task::AdminRotateRootKey);
        assert!(parsed("headgate admin reset-password").is_err());
        assert!(parsed("headgate admin").is_err());
    }

    #[test]
    fn an_audit_log_is_named() {
        let verify = parsed("headgate audit verify audit.jsonl").expect("a valid line");
        assert_eq!(verify.task, Task::AuditVerify { file: "audit.jsonl".into(), public_key: None });
    }
}
