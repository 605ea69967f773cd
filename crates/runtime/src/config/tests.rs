use super::*;

const SETTINGS: &[Setting] = &[
    Setting { name: "control_addr", kind: Kind::Address, default: Some("127.0.0.1:7400"), help: "" },
    Setting { name: "database_url", kind: Kind::Url, default: None, help: "" },
    Setting { name: "root_key", kind: Kind::Secret, default: None, help: "" },
    Setting { name: "idle_timeout", kind: Kind::Duration, default: Some("60s"), help: "" },
    Setting { name: "max_body", kind: Kind::Bytes, default: Some("64MiB"), help: "" },
    Setting { name: "egress_allow_private", kind: Kind::List, default: None, help: "" },
    Setting { name: "auto_migrate", kind: Kind::Switch, default: None, help: "" },
];

fn flags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn address(given: &[(&str, &str)], environment: &Environment, file: Option<&str>) -> (String, Origin) {
    let resolved = resolve(SETTINGS, &flags(given), environment, file).expect("usable settings");
    let origin = resolved.find_origin("control_addr").expect("an origin");
    (resolved.get_address("control_addr").expect("an address").to_string(), origin)
}

#[test]
fn a_flag_goes_before_the_environment_before_the_file_before_the_default() {
    let environment = Environment::from([("HEADGATE_CONTROL_ADDR", "127.0.0.1:2")]);
    let file = Some("control_addr = '127.0.0.1:3'");
    let none = Environment::default();
    assert_eq!(address(&[("control_addr", "127.0.0.1:1")], &environment, file), ("127.0.0.1:1".into(), Origin::Flag));
    assert_eq!(address(&[], &environment, file), ("127.0.0.1:2".into(), Origin::Environment));
    assert_eq!(address(&[], &none, file), ("127.0.0.1:3".into(), Origin::File));
    assert_eq!(address(&[], &none, None), ("127.0.0.1:7400".into(), Origin::Default));
    let emptied = Environment::from([("HEADGATE_CONTROL_ADDR", "")]);
    assert_eq!(address(&[], &emptied, None), ("127.0.0.1:7400".into(), Origin::Default));
}

#[test]
fn an_unknown_key_is_an_error_that_suggests_the_right_one() {
    let unknown = resolve(SETTINGS, &flags(&[]), &Environment::default(), Some("control-addr = 'x'"));
    let message = unknown.expect_err("an unknown key").to_string();
    assert_eq!(message, "the configuration file has the unknown key `control-addr`; did you mean `control_addr`?");
}

#[test]
fn an_unknown_variable_is_named_but_not_an_error() {
    let environment = Environment::from([("HEADGATE_SERVICE_HOST", "10.0.0.1"), ("PATH", "/bin")]);
    assert!(resolve(SETTINGS, &flags(&[]), &environment, None).is_ok());
    assert_eq!(list_unknown_variables(SETTINGS, &environment), ["HEADGATE_SERVICE_HOST"]);
}

#[test]
fn an_unusable_value_says_where_it_stands_and_what_would_be_right() {
    let unusable = resolve(SETTINGS, &flags(&[]), &Environment::from([("HEADGATE_IDLE_TIMEOUT", "soon")]), None);
    let message = unusable.expect_err("an unusable value").to_string();
    let expected =
        "`idle_timeout` (from the environment) cannot be `soon`: expected a time such as 300ms, 5s, 2m or 1h";
    assert_eq!(message, expected);
    assert!(resolve(SETTINGS, &flags(&[]), &Environment::default(), Some("max_body = 1.5")).is_err());
}

#[test]
fn values_have_types() {
    let file =
        "idle_timeout = '2m'\nmax_body = 1024\nauto_migrate = true\negress_allow_private = ['10.0.0.0/8', 'local']";
    let resolved = resolve(SETTINGS, &flags(&[]), &Environment::default(), Some(file)).expect("usable settings");
    assert_eq!(resolved.get_duration("idle_timeout"), Ok(Duration::from_secs(120)));
    assert_eq!(resolved.get_bytes("max_body"), Ok(1_024));
    assert!(resolved.is_on("auto_migrate"));
    assert_eq!(resolved.list("egress_allow_private"), ["10.0.0.0/8", "local"]);
    let missing = resolved.get("database_url").expect_err("unset").to_string();
    assert!(missing.contains("--database-url") && missing.contains("HEADGATE_DATABASE_URL"), "{missing}");
}

#[test]
fn secrets_are_not_shown() {
    let given = [
        ("root_key", "hunter2-root"),
        ("database_url", "postgres://headgate:hunter2@with@db.example:5432/headgate?password=hunter2"),
    ];
    let resolved = resolve(SETTINGS, &flags(&given), &Environment::default(), None).expect("usable settings");
    let shown = format!("{:?}", resolved.list_shown());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("postgres://headgate:(hidden)@db.example:5432/headgate?(hidden)"), "{shown}");
    let unusable = resolve(SETTINGS, &flags(&[("database_url", "hunter2")]), &Environment::default(), None);
    assert!(!unusable.expect_err("not a URL").to_string().contains("hunter2"));
}

#[test]
fn times_and_sizes_need_known_units() {
    assert_eq!(parse_duration("300ms"), Some(Duration::from_millis(300)));
    assert_eq!(parse_bytes("64 MiB"), Some(64 << 20));
    assert_eq!((parse_duration("5"), parse_duration(""), parse_duration("1y")), (None, None, None));
    assert_eq!((parse_bytes("1TB"), parse_bytes("-1"), parse_bytes("99999999999GB")), (None, None, None));
}
