//! Versions that never change, and bytes that nobody changes unseen.

use super::*;
use crate::config::StorePlace;

fn name(text: &str) -> VersionedName {
    VersionedName::parse(text).unwrap()
}

struct Place {
    folder: tempfile::TempDir,
    io: tokio::runtime::Runtime,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            io: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    fn registry(&self, trust: Trust) -> Registry {
        Registry::open(&TransformRegistry {
            place: StorePlace::Folder(self.folder.path().join("registry")),
            trust,
        })
        .unwrap()
    }

    fn push(&self, text: &str, bytes: &'static [u8]) -> Result<Pushed, RegistryError> {
        let registry = self.registry(Trust::default());
        let name = name(text);
        let pushed = registry.push(&name, Bytes::from_static(bytes), None);
        self.io.block_on(pushed)
    }

    fn get(&self, trust: Trust, text: &str) -> Result<Bytes, RegistryError> {
        let registry = self.registry(trust);
        self.io.block_on(async {
            let version = registry.resolve(&name(text)).await?;
            registry.fetch(&version).await
        })
    }
}

#[test]
fn a_version_never_changes() {
    let place = Place::new();
    assert!(!place.push("driver@1", b"one").unwrap().was_there);
    assert!(place.push("driver@1", b"one").unwrap().was_there);
    let refused = place.push("driver@1", b"two").unwrap_err().to_string();
    assert!(refused.contains("never changes"), "{refused}");
    assert_eq!(place.get(Trust::default(), "driver@1").unwrap(), "one");
    assert!(!place.push("driver@2", b"two").unwrap().was_there);
    let registry = place.registry(Trust::default());
    let listed = place.io.block_on(registry.list(None)).unwrap();
    let names: Vec<String> = listed.iter().map(|it| it.name.to_string()).collect();
    assert_eq!(names, ["driver@1", "driver@2"]);
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let place = Place::new();
    let said = |text: &str| place.get(Trust::default(), text).unwrap_err().to_string();
    assert!(said("driver@1").contains("it is empty"));
    place.push("driver@1", b"one").unwrap();
    assert!(said("driver@2").contains("its versions are 1"));
    assert!(said("rider@1").contains("it has driver"));
}

#[test]
fn bytes_that_somebody_changed_are_not_used() {
    let place = Place::new();
    let pushed = place.push("driver@1", b"one").unwrap();
    let file = place.folder.path().join("registry");
    let file = file.join(blob(&pushed.version.digest));
    std::fs::write(&file, b"eno").unwrap();
    let error = place.get(Trust::default(), "driver@1").unwrap_err();
    assert!(matches!(error, RegistryError::Damaged { .. }), "{error}");
    // Also where there are so many that they are not to be read.
    let large = std::fs::File::create(&file).unwrap();
    large.set_len(1 << 40).unwrap();
    let error = place.get(Trust::default(), "driver@1").unwrap_err();
    assert!(
        error.to_string().contains("has been changed, for it has"),
        "{error}"
    );
    std::fs::remove_file(&file).unwrap();
    let error = place.get(Trust::default(), "driver@1").unwrap_err();
    assert!(matches!(error, RegistryError::Gone { .. }), "{error}");
}

#[test]
fn a_record_leads_nowhere_else() {
    let place = Place::new();
    place.push("driver@1", b"one").unwrap();
    let file = place.folder.path().join("registry");
    let file = file.join(file_of(&name("driver@1")));
    for digest in ["sha256:../../secret", "sha256:", "md5:00"] {
        let text = format!("{{\"layout\":1,\"digest\":\"{digest}\",\"size\":3}}");
        std::fs::write(&file, text).unwrap();
        let error = place.get(Trust::default(), "driver@1").unwrap_err();
        assert!(matches!(error, RegistryError::Unreadable { .. }), "{error}");
    }
}

#[test]
fn only_what_a_trusted_key_has_signed_is_used_where_that_is_required() {
    let place = Place::new();
    let signer = |file: &str| Signer::make(&place.folder.path().join(file)).unwrap();
    let (ci, other) = (signer("ci"), signer("other"));
    let read = Signer::read(&place.folder.path().join("ci")).unwrap();
    assert_eq!(read.public(), ci.public());
    let trust = |required| Trust {
        required,
        keys: vec![("ci".to_owned(), ci.0.verifying_key().to_bytes())],
    };
    let driver = name("driver@1");
    place.push("driver@1", b"one").unwrap();
    let unsigned = |error: RegistryError| matches!(error, RegistryError::Unsigned { .. });
    assert!(unsigned(place.get(trust(true), "driver@1").unwrap_err()));
    assert!(place.get(trust(false), "driver@1").is_ok());

    let registry = place.registry(trust(true));
    let push = |signer: &Signer| {
        let pushed = registry.push(&driver, Bytes::from_static(b"one"), Some(signer));
        place.io.block_on(pushed).unwrap()
    };
    push(&other);
    assert!(unsigned(place.get(trust(true), "driver@1").unwrap_err()));
    let signed = push(&ci).version;
    assert_eq!(registry.signers_of(&signed).unwrap(), ["ci"]);
    assert_eq!(place.get(trust(true), "driver@1").unwrap(), "one");

    // A signature is of one version alone, though another one has the same bytes.
    place.push("driver@2", b"one").unwrap();
    let root = place.folder.path().join("registry");
    let (from, to) = (
        root.join(signatures_of(&driver)),
        root.join(signatures_of(&name("driver@2"))),
    );
    std::fs::create_dir_all(&to).unwrap();
    let file = ci.sign(&driver, "").file_name();
    std::fs::copy(from.join(&file), to.join(&file)).unwrap();
    let error = place.get(trust(false), "driver@2").unwrap_err();
    assert!(
        matches!(error, RegistryError::BadSignature { .. }),
        "{error}"
    );
}

#[test]
fn a_key_is_not_written_over_and_is_nobody_elses() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    Signer::make(&file).unwrap();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(Signer::make(&file).is_err());
    std::fs::write(&file, "ed25519-secret:AAAA").unwrap();
    assert!(Signer::read(&file).is_err());
}

#[test]
fn fuzz_registry() {
    let record = super::record::Record::new(digest(b"bytes"), 5).encode();
    let signature = br#"{"key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","signature":"AAAA"}"#;
    crate::fuzz::run("registry", vec![record, signature.to_vec()], |input| {
        if let Ok(record) = super::record::Record::decode(input, String::new()) {
            assert_eq!(record.digest.len(), 71, "it becomes a path");
            assert!(!record.digest.contains(['/', '.']));
        }
        let _ = super::signature::Signature::decode(input, String::new());
    });
}
