//! Who may read and write which groups.
//!
//! Tokens are known by their SHA-256 alone, also those that come from a file or a variable: what is compared, and what lies
//! in memory, is never a token. A token is not part of any message.

use std::collections::HashMap;
use std::fmt;
use std::net::ToSocketAddrs;

use sha2::{Digest, Sha256};

use super::refusal::{Kind, Refusal};
use crate::config::{Anyone, KnownBy, Serving};

/// Why nobody can be let in, or too many would be.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A token's file cannot be read.
    #[error("cannot read the token `{token}` from {}: {source}; see to it that the file is there, and that this process may read it", path.display())]
    File {
        /// The token's name.
        token: String,
        /// The file.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A token's variable is not set.
    #[error(
        "the token `{token}` is to come from the environment variable {variable}, which is not set; set it, or give the token's `sha256`"
    )]
    Variable {
        /// The token's name.
        token: String,
        /// The variable.
        variable: String,
    },
    /// A token that anybody could guess.
    #[error(
        "the token `{token}` has {bytes} bytes, and a token has at least {SHORTEST}: make one with `openssl rand -hex 32`"
    )]
    Short {
        /// The token's name.
        token: String,
        /// Its length.
        bytes: usize,
    },
    /// Everybody on the network could read.
    #[error(
        "{address} is reached from other machines, and `serving` has no tokens: add some, or say `anyone = \"read\"` if everyone who can connect may read every group"
    )]
    Open {
        /// Where it was to listen.
        address: String,
    },
}

/// Bytes of a token at least.
const SHORTEST: usize = 16;

/// Who may do what.
pub(in crate::serve) struct Access {
    tokens: HashMap<[u8; 32], Rights>,
    anyone: Rights,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("tokens", &self.tokens.len())
            .finish_non_exhaustive()
    }
}

/// What a token is good for.
#[derive(Debug, Clone, Default)]
struct Rights {
    name: String,
    read: Groups,
    write: Groups,
}

#[derive(Debug, Clone, Default)]
enum Groups {
    #[default]
    None,
    All,
    Some(Vec<String>),
}

impl Groups {
    fn of(groups: &[String]) -> Self {
        match groups {
            [] => Self::None,
            all if all.iter().any(|group| group == "*") => Self::All,
            some => Self::Some(some.to_vec()),
        }
    }

    fn has(&self, group: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(some) => some.iter().any(|it| it == group),
        }
    }
}

/// Somebody who asks, with what they may do.
#[derive(Debug, Clone, Copy)]
pub(in crate::serve) struct Caller<'a> {
    rights: &'a Rights,
    has_token: bool,
}

impl Access {
    /// Reads tokens. `addresses` are those that will be listened on.
    pub(in crate::serve) fn open(
        settings: &Serving,
        addresses: &[&str],
    ) -> Result<Self, AccessError> {
        let mut tokens = HashMap::new();
        for token in &settings.tokens {
            let rights = Rights {
                name: token.name.clone(),
                read: Groups::of(&token.read),
                write: Groups::of(&token.write),
            };
            tokens.insert(hash_of(&token.name, &token.known_by)?, rights);
        }
        let open = settings.anyone.is_none() && tokens.is_empty();
        if let Some(address) = addresses.iter().find(|address| open && !is_local(address)) {
            return Err(AccessError::Open {
                address: (*address).to_owned(),
            });
        }
        let usual = if open { Anyone::Read } else { Anyone::Nothing };
        let (read, write) = match settings.anyone.unwrap_or(usual) {
            Anyone::Nothing => (Groups::None, Groups::None),
            Anyone::Read => (Groups::All, Groups::None),
            Anyone::Write => (Groups::All, Groups::All),
        };
        Ok(Self {
            tokens,
            anyone: Rights {
                name: "anyone".to_owned(),
                read,
                write,
            },
        })
    }

    /// Who asks with an `authorization` header such as this.
    pub(super) fn caller(&self, authorization: Option<&[u8]>) -> Result<Caller<'_>, Refusal> {
        let Some(header) = authorization else {
            return Ok(Caller {
                rights: &self.anyone,
                has_token: false,
            });
        };
        let refuse = |message| Err(Refusal::new(Kind::Unauthenticated, message));
        let Some(token) = bearer(header) else {
            return refuse(
                "the authorization is none that is known here: send `Authorization: Bearer TOKEN`",
            );
        };
        // Whoever measures how long this takes learns something of a hash, and nothing of a token.
        match self.tokens.get(&digest(token)) {
            Some(rights) => Ok(Caller {
                rights,
                has_token: true,
            }),
            None => refuse(
                "the token is not known here: send one that `serving.tokens` of the server has",
            ),
        }
    }
}

impl Caller<'_> {
    /// Whether the group may be read.
    pub(super) fn may_read(&self, group: &str) -> Result<(), Refusal> {
        self.check(self.rights.read.has(group), "read", group)
    }

    /// Whether the group may be written.
    pub(super) fn may_write(&self, group: &str) -> Result<(), Refusal> {
        self.check(self.rights.write.has(group), "write", group)
    }

    fn check(&self, may: bool, what: &str, group: &str) -> Result<(), Refusal> {
        if may {
            return Ok(());
        }
        Err(match self.has_token {
            true => Refusal::new(
                Kind::Denied,
                format!(
                    "the token `{}` may not {what} group {group:?}: name the group in `{what}` of the token's entry in `serving.tokens`",
                    self.rights.name
                ),
            ),
            false => Refusal::new(
                Kind::Unauthenticated,
                format!(
                    "a token is needed to {what} group {group:?}: send `Authorization: Bearer TOKEN`"
                ),
            ),
        })
    }
}

/// The token of an `authorization` header, if it is one of this kind.
pub(in crate::serve) fn bearer(header: &[u8]) -> Option<&[u8]> {
    let scheme = header.get(..7)?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
    is_bearer.then(|| header[7..].trim_ascii())
}

/// The hash of the token of this name.
pub(in crate::serve) fn hash_of(name: &str, known_by: &KnownBy) -> Result<[u8; 32], AccessError> {
    let name = || name.to_owned();
    let text = match known_by {
        KnownBy::Sha256(hash) => return Ok(*hash),
        KnownBy::Variable(variable) => {
            let text = std::env::var_os(&variable.value).ok_or_else(|| AccessError::Variable {
                token: name(),
                variable: variable.value.clone(),
            })?;
            text.into_encoded_bytes()
        }
        KnownBy::File(path) => std::fs::read(path).map_err(|source| AccessError::File {
            token: name(),
            path: path.clone(),
            source,
        })?,
    };
    let text = text.trim_ascii();
    if text.len() < SHORTEST {
        return Err(AccessError::Short {
            token: name(),
            bytes: text.len(),
        });
    }
    Ok(digest(text))
}

/// The hash by which a token is known.
pub(in crate::serve) fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Whether only this machine reaches an address. One that means nothing is refused when it is listened on.
fn is_local(address: &str) -> bool {
    let Ok(mut resolved) = address.to_socket_addrs() else {
        return true;
    };
    resolved.all(|it| it.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServingToken;

    fn settings(anyone: Option<Anyone>, tokens: Vec<ServingToken>) -> Serving {
        Serving {
            anyone,
            tokens,
            ..Serving::default()
        }
    }

    fn token(read: &[&str], write: &[&str]) -> ServingToken {
        let groups = |groups: &[&str]| groups.iter().map(|it| (*it).to_owned()).collect();
        ServingToken {
            name: "ranking".into(),
            known_by: KnownBy::Sha256(digest(b"0123456789abcdef")),
            read: groups(read),
            write: groups(write),
        }
    }

    #[test]
    fn a_token_is_good_for_what_it_names_alone() {
        let settings = settings(None, vec![token(&["driver", "rider"], &["driver"])]);
        let access = Access::open(&settings, &["0.0.0.0:1"]).unwrap();
        let caller = access.caller(Some(b"bearer 0123456789abcdef ")).unwrap();
        assert!(caller.may_read("rider").is_ok() && caller.may_write("driver").is_ok());
        assert_eq!(caller.may_write("rider").unwrap_err().kind, Kind::Denied);
        assert_eq!(caller.may_read("other").unwrap_err().kind, Kind::Denied);
        let nobody = access.caller(None).unwrap();
        assert_eq!(
            nobody.may_read("driver").unwrap_err().kind,
            Kind::Unauthenticated
        );
        for wrong in [&b"Bearer 0123456789abcdeF"[..], b"Basic x", b"", b"Bearer"] {
            let refused = access.caller(Some(wrong)).unwrap_err();
            assert_eq!(refused.kind, Kind::Unauthenticated);
            assert!(!refused.message.contains("0123456789"), "{refused}");
        }
    }

    #[test]
    fn without_tokens_only_this_machine_may_read() {
        let nothing = settings(None, vec![]);
        let access = Access::open(&nothing, &["127.0.0.1:0", "[::1]:0"]).unwrap();
        let anyone = access.caller(None).unwrap();
        assert!(anyone.may_read("driver").is_ok());
        assert_eq!(
            anyone.may_write("driver").unwrap_err().kind,
            Kind::Unauthenticated
        );
        let open = Access::open(&nothing, &["0.0.0.0:8470"]).unwrap_err();
        assert!(open.to_string().contains("anyone"), "{open}");
        let said = settings(Some(Anyone::Write), vec![]);
        let access = Access::open(&said, &["0.0.0.0:8470"]).unwrap();
        assert!(access.caller(None).unwrap().may_write("driver").is_ok());
    }
}
