//! Who a client certificate, whose chain has been verified, stands for.

use std::sync::Arc;

use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::admission::Principal;

/// Bytes of a name.
const NAME_BYTE_SIZE: usize = 256;

/// The principal: the first URI among the subject's alternative names (as SPIFFE has it), otherwise
/// the first DNS name, otherwise the subject's common name. `None` if there is none of these.
pub(super) fn principal(certificate: &[u8]) -> Option<Arc<Principal>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let name = alternative_name(&certificate).or_else(|| common_name(&certificate))?;
    let is_name = (1..=NAME_BYTE_SIZE).contains(&name.len()) && !name.chars().any(char::is_control);
    is_name.then(|| {
        Arc::new(Principal {
            name: format!("certificate:{name}"),
            roles: Vec::new(),
        })
    })
}

fn alternative_name(certificate: &Certificate) -> Option<String> {
    let certificate = certificate.tbs_certificate();
    let (_, names) = certificate.get_extension::<SubjectAltName>().ok()??;
    let uri = names.0.iter().find_map(|name| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
        _ => None,
    });
    uri.or_else(|| {
        names.0.iter().find_map(|name| match name {
            GeneralName::DnsName(dns) => Some(dns.as_str().to_owned()),
            _ => None,
        })
    })
}

fn common_name(certificate: &Certificate) -> Option<String> {
    let subject = certificate.tbs_certificate().subject();
    let name = subject.common_name().ok()??;
    Some(name.value().into_owned())
}
