//! Whom TLS trusts.
//!
//! Owns one invariant: certificates are always checked; there is no setting against it.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::config::{Config, StartError};

/// The TLS settings for these settings. Reads files; what the system's store has that cannot be
/// read is left out.
pub(crate) fn client_config(config: &Config) -> Result<Arc<ClientConfig>, StartError> {
    let mut roots = RootCertStore::empty();
    if config.system_certificates {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if let Some(path) = &config.ca_file {
        add_file(&mut roots, path)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), StartError> {
    let failed = |reason: String| StartError::Certificates { path: path.to_owned(), reason };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    let mut any = false;
    for certificate in found {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
        any = true;
    }
    if any { Ok(()) } else { Err(failed("it contains no certificate".to_owned())) }
}
