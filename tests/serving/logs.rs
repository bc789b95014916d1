//! The log as JSON: each line is an object, whoever said it and whatever it says.

use serde_json::Value;

use crate::support::{Ended, Folder, transform};

fn unruly(misdeed: &str) -> Folder {
    let folder = Folder::new();
    folder.write(
        "events.ndjson",
        "{\"at\":\"2026-01-01T00:00:00Z\",\"key\":1,\"amount\":13.0}\n",
    );
    folder.write(
        "penstock.toml",
        "[environments.local]\n[environments.local.events.entry]\nfiles = \"events.ndjson\"\nevent_time = \"at\"\n",
    );
    let component = transform("unruly");
    folder.write(
        "entries.toml",
        format!(
            "event = \"entry\"\ntransform = {component:?}\nkey = \"key\"\ngroup = \"entry\"\nconfig = {{ misdeed = {misdeed:?} }}\n[window]\nkind = \"tumbling\"\nsize = \"10s\"\n[[feature]]\nname = \"rows\"\ntype = \"uint64\"\n[limits]\nfailures = 0\n"
        ),
    );
    folder
}

fn lines(ended: &Ended) -> Vec<Value> {
    let stderr = ended.stderr();
    stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn every_line_says_whose_it_is() {
    let folder = unruly("chatter");
    let run = folder.penstock(&[
        "run",
        "entries.toml",
        "--lanes",
        "1",
        "--log-format",
        "json",
    ]);
    let lines = lines(&run);
    run.fine();
    let said: Vec<&Value> = lines
        .iter()
        .filter(|line| line["target"] == "transform")
        .collect();
    assert_eq!(said.len(), 100);
    assert_eq!(said[7]["message"], "line 7");
    for line in said {
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["span"]["pipeline"], "entries");
        assert_eq!(line["span"]["lane"], 0);
        assert_eq!(line["span"]["generation"].as_str().unwrap().len(), 12);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
    // What the program says of itself is of the same form: here that a schema was inferred.
    let inferred = lines.iter().find(|line| line["target"] == "penstock");
    let inferred = inferred.unwrap()["message"].as_str().unwrap();
    assert!(inferred.contains("schema"), "{inferred}");
}

#[test]
fn what_a_guest_says_does_nothing_to_the_log() {
    let folder = unruly("scrawl");
    let run = folder.penstock(&["run", "-q", "entries.toml", "--log-format", "json"]);
    assert_eq!(run.code(), Some(1));
    let stderr = run.stderr();
    assert!(!stderr.contains(['\u{1b}', '\u{202e}']), "{stderr:?}");
    let lines = lines(&run);
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "ERROR");
    assert!(last["message"].as_str().unwrap().contains("thirteen"));
    // As text it is the same, and without colours where nobody looks at it.
    let run = folder.penstock(&["run", "-q", "entries.toml"]);
    let stderr = run.stderr();
    assert!(!stderr.contains(['\u{1b}', '\u{202e}']), "{stderr:?}");
    assert!(stderr.starts_with("error: pipeline entries"), "{stderr}");
}

#[test]
fn a_format_that_is_none_is_refused() {
    let refused = Folder::new().penstock(&["--log-format", "xml", "get", "a", "b", "c"]);
    assert_eq!(refused.code(), Some(2));
    assert!(refused.stderr().contains("[possible values: text, json]"));
}
