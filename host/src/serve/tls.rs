//! Certificates and keys for listeners.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::ServeError;
use crate::config::ServingTls;

/// Reads certificate and key. A new certificate is taken up when the process starts again.
pub(super) fn acceptor(tls: &ServingTls) -> Result<TlsAcceptor, ServeError> {
    let refuse = |path: &Path, reason: String| ServeError::Tls {
        path: path.to_owned(),
        reason,
    };
    let read = CertificateDer::pem_file_iter(&tls.certificate);
    let certificates: Result<Vec<_>, _> = read.and_then(Iterator::collect);
    let certificates = certificates.map_err(|error| refuse(&tls.certificate, error.to_string()))?;
    if certificates.is_empty() {
        return Err(refuse(&tls.certificate, "it has no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| refuse(&tls.key, error.to_string()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(certificates, key)
        });
    let mut config = config.map_err(|error| refuse(&tls.certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
