//! Secrets stay where they are written: whatever goes wrong, no output, log or file has them.

use std::path::Path;

use crate::support::Folder;

/// What every secret of these tests has in it.
const MARK: &str = "m4rk3d-s3cr3t";

const EVENTS: &str = "[environments.local.events.entry]\nevent_time = \"at\"\n";

/// Environments with secrets, in each of which something else is wrong.
fn environments() -> Vec<String> {
    let store = format!(
        "[environments.local.object_store]\naws_access_key_id = \"{MARK}-id\"\naws_secret_access_key = \"{MARK}-key\"\n\
         aws_session_token = \"{MARK}-token\"\n"
    );
    let kafka = format!(
        "[environments.local.kafka]\n\"bootstrap.servers\" = \"127.0.0.1:1\"\n\"sasl.username\" = \"u\"\n\"sasl.password\" = \"{MARK}\"\n"
    );
    let nowhere =
        "aws_endpoint = \"http://127.0.0.1:1\"\naws_allow_http = \"true\"\naws_region = \"x\"\n";
    let local = "[environments.local]\noutput = \"out\"\n";
    let files = format!("{EVENTS}files = \"events.ndjson\"\n");
    let remote = format!("{EVENTS}files = \"s3://bucket/*.ndjson\"\n");
    vec![
        // Nobody listens there.
        format!("{local}{store}{nowhere}{remote}"),
        // Keys that mean nothing, beside some that are secret.
        format!("{local}{store}aws_sekret_access_key = \"{MARK}\"\n{files}"),
        format!("{local}{store}{files}secret_token = \"{MARK}\"\n"),
        format!("{local}{kafka}\"sasl.pasword\" = \"{MARK}\"\n{files}"),
        // Of another type, and no TOML at all.
        format!("{local}{store}aws_token = [\"{MARK}\"]\n{files}"),
        format!("{local}{store}aws_token = \"{MARK}\n{files}"),
        format!("{local}{store}aws_token = {MARK}\n{files}"),
        // A secret within an address.
        format!("{local}{EVENTS}files = \"https://someone:{MARK}@127.0.0.1:1/*.ndjson\"\n"),
        format!("output = \"https://someone:{MARK}@example.org\"\n{local}{files}"),
        format!("{local}{kafka}{EVENTS}topic = \"rides\"\nformat = \"nothing\"\n"),
    ]
    .into_iter()
    .chain(of_tables())
    .chain(of_servers())
    .chain(of_streams())
    .collect()
}

/// Keys of tables, which nobody asks for anything: the pipeline has no store.
fn of_tables() -> Vec<String> {
    let table = format!(
        "[environments.local]\noutput = \"out\"\nstore = \"dynamodb://features\"\n[environments.local.dynamodb]\n\
         region = \"x\"\nendpoint = \"http://127.0.0.1:1\"\naws_access_key_id = \"{MARK}-id\"\naws_secret_access_key = \"{MARK}-key\"\n"
    );
    let files = format!("{EVENTS}files = \"events.ndjson\"\n");
    vec![
        format!("{table}{files}"),
        format!("{table}aws_sekret = \"{MARK}\"\n{files}"),
        format!("{table}aws_session_token = [\"{MARK}\"]\n{files}"),
        format!("{table}timeout = \"never\"\n{files}"),
        format!("{table}endpoint = \"http://someone:{MARK}@127.0.0.1:1\"\n{files}"),
    ]
}

/// Tokens of servers.
fn of_servers() -> Vec<String> {
    let local = "[environments.local]\noutput = \"out\"\n";
    let token = format!("[environments.local.serving.tokens.ranking]\ntoken = \"{MARK}\"\n");
    let files = format!("{EVENTS}files = \"events.ndjson\"\n");
    vec![
        format!("{local}{token}read = [\"driver\"]\n{files}"),
        format!("{local}{token}reed = [\"{MARK}\"]\n{files}"),
        format!("{local}{token}sha256 = \"{MARK}\"\nread = [\"driver\"]\n{files}"),
        format!(
            "{local}[environments.local.serving.tokens.ranking]\ntoken = [\"{MARK}\"]\n{files}"
        ),
        format!(
            "{local}[environments.local.serving.tokens.ranking]\nfile = 7\ntoken = \"{MARK}\n{files}"
        ),
    ]
}

/// Passwords of brokers and of registries of schemas, in clients that cannot be made.
fn of_streams() -> Vec<String> {
    let local = "[environments.local]\noutput = \"out\"\n";
    let stream = |kafka: &str, more: &str| {
        format!(
            "{local}{EVENTS}kafka = {{ brokers = \"127.0.0.1:1\", topic = \"rides\", \"sasl.username\" = \"u\", \"sasl.password\" = \"{MARK}\", {kafka} }}\n{more}"
        )
    };
    let avro = format!(
        "format = \"avro\"\navro = {{ registry = \"http://127.0.0.1:1\", user = \"u\", password = \"{MARK}\", timeout = \"1s\", tries = 1, sekret = 1 }}\n"
    );
    vec![
        stream(
            "\"sasl.mechanisms\" = \"NONSENSE\", \"security.protocol\" = \"sasl_plaintext\"",
            "",
        ),
        stream("\"sasl.pasword\" = \"x\"", ""),
        stream("\"ssl.key.password\" = 7", ""),
        stream("\"security.protocol\" = \"plaintext\"", &avro),
    ]
}

#[test]
fn no_output_log_or_file_has_a_secret() {
    for (at, environment) in environments().iter().enumerate() {
        let folder = Folder::new();
        folder.write("penstock.toml", environment);
        folder.write(
            "events.ndjson",
            "{\"at\":\"2026-01-01T00:00:00Z\",\"key\":1,\"amount\":1.0}\n",
        );
        let transform = crate::support::transform("unruly");
        folder.write(
            "pipeline.toml",
            format!(
                "name = \"entries\"\nevent = \"entry\"\ntransform = {transform:?}\nkey = \"key\"\ngroup = \"g\"\n\
                 [window]\nkind = \"tumbling\"\nsize = \"10s\"\n[[feature]]\nname = \"rows\"\ntype = \"uint64\"\n\
                 [outputs]\nstore = false\n"
            ),
        );
        for command in ["validate", "run"] {
            // Everything that anybody says.
            let ended = folder.penstock(&[command, "pipeline.toml", "--log", "trace"]);
            for (what, text) in [("stdout", ended.stdout()), ("stderr", ended.stderr())] {
                let place = text
                    .find(MARK)
                    .map(|at| &text[text.floor_char_boundary(at.saturating_sub(200))..at]);
                assert!(
                    place.is_none(),
                    "environment {at}, {command}: {what} after {place:?}"
                );
            }
        }
        refuse_files_with_the_mark(&folder.path(""), at);
    }
}

fn refuse_files_with_the_mark(folder: &Path, environment: usize) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            refuse_files_with_the_mark(&path, environment);
        } else if !path.ends_with("penstock.toml") {
            let bytes = std::fs::read(&path).unwrap();
            let has = bytes
                .windows(MARK.len())
                .any(|window| window == MARK.as_bytes());
            assert!(
                !has,
                "environment {environment}: {} has the secret",
                path.display()
            );
        }
    }
}
