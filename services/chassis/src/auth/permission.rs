use agora_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::{DescriptorError, DescriptorPool, MethodDescriptor};

use super::Permission;

/// The method option that names the permission.
const OPTION: &str = "agora.auth.v1.permission";
/// What the names of Agora's own services begin with. Others (health, reflection) are
/// open to everybody.
const PACKAGE: &str = "agora.";

/// What the server needs to know of a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Method {
    /// Its path without the first slash: `agora.post.v1.PostService/GetPost`.
    pub(crate) rpc: String,
    /// What a caller needs; nothing for methods that are not Agora's own.
    pub(crate) permission: Option<Permission>,
    /// Whether it answers with a stream, which has no time-out.
    pub(crate) is_stream: bool,
}

/// The methods that cannot be served, or a descriptor set that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MethodsError {
    /// A caller's right to call them cannot be checked.
    #[error("no permission is named by {}: give it the option {OPTION}", .0.join(", "))]
    NoPermission(Vec<String>),
    /// A service of Agora is not in the descriptor set.
    #[error("{0} is not in the descriptor set")]
    NotDescribed(String),
    /// The descriptor set cannot be read.
    #[error("the descriptor set cannot be read")]
    Descriptors(#[from] DescriptorError),
}

/// The methods of these services.
///
/// # Errors
/// [`MethodsError`], also if a method of a service of Agora names no permission.
pub(crate) fn methods(services: &[&str]) -> Result<Vec<Method>, MethodsError> {
    let sets = [
        FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    ];
    methods_of(&sets, services)
}

fn methods_of(sets: &[&[u8]], services: &[&str]) -> Result<Vec<Method>, MethodsError> {
    let mut pool = DescriptorPool::new();
    for set in sets {
        pool.decode_file_descriptor_set(*set)?;
    }
    let mut methods = Vec::new();
    let mut nameless = Vec::new();
    for name in services {
        let is_ours = name.starts_with(PACKAGE);
        let Some(service) = pool.get_service_by_name(name) else {
            if is_ours {
                return Err(MethodsError::NotDescribed((*name).to_owned()));
            }
            continue;
        };
        for method in service.methods() {
            let rpc = format!("{name}/{}", method.name());
            let permission = permission(&pool, &method);
            if is_ours && permission.is_none() {
                nameless.push(rpc.clone());
            }
            methods.push(Method { rpc, permission, is_stream: method.is_server_streaming() });
        }
    }
    if nameless.is_empty() { Ok(methods) } else { Err(MethodsError::NoPermission(nameless)) }
}

/// The permission that a method names.
fn permission(pool: &DescriptorPool, method: &MethodDescriptor) -> Option<Permission> {
    let option = pool.get_extension_by_name(OPTION)?;
    let number = method.options().get_extension(&option).as_enum_number()?;
    let permission = Permission::try_from(number).ok()?;
    (permission != Permission::Unspecified).then_some(permission)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::{
        DescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
        ServiceDescriptorProto,
    };

    use super::*;

    #[test]
    fn every_method_of_agora_names_its_permission() {
        let mut pool = DescriptorPool::new();
        pool.decode_file_descriptor_set(FILE_DESCRIPTOR_SET).unwrap();
        let services: Vec<String> =
            pool.services().map(|service| service.full_name().to_owned()).collect();
        let names: Vec<&str> = services.iter().map(String::as_str).collect();
        let methods = methods(&names).unwrap();
        let find = |rpc: &str| methods.iter().find(|method| method.rpc == rpc).unwrap();

        let create = find("agora.comment.v1.CommentService/CreateComment");
        assert_eq!(create.permission, Some(Permission::WriteComment));
        assert!(!create.is_stream);
        let read = find("agora.admin.v1.JournalService/ReadJournal");
        assert_eq!(read.permission, Some(Permission::Operate));
        assert!(read.is_stream);
        assert!(methods.iter().all(|method| method.permission.is_some()));
    }

    #[test]
    fn methods_of_others_are_open() {
        let found = methods(&["grpc.health.v1.Health", "somebody.Else"]).unwrap();
        let watch = found.iter().find(|method| method.rpc.ends_with("/Watch")).unwrap();
        assert!(watch.is_stream && watch.permission.is_none());
        assert!(found.iter().all(|method| method.rpc.starts_with("grpc.health.v1.Health/")));
    }

    #[test]
    fn a_method_without_a_permission_is_refused() {
        let method = MethodDescriptorProto {
            name: Some("Forgot".into()),
            input_type: Some(".agora.test.v1.Empty".into()),
            output_type: Some(".agora.test.v1.Empty".into()),
            ..Default::default()
        };
        let service = ServiceDescriptorProto {
            name: Some("TestService".into()),
            method: vec![method],
            ..Default::default()
        };
        let empty = DescriptorProto { name: Some("Empty".into()), ..Default::default() };
        let file = FileDescriptorProto {
            name: Some("test.proto".into()),
            package: Some("agora.test.v1".into()),
            message_type: vec![empty],
            service: vec![service],
            syntax: Some("proto3".into()),
            ..Default::default()
        };
        let set = FileDescriptorSet { file: vec![file] }.encode_to_vec();
        let sets = [FILE_DESCRIPTOR_SET, &set];
        let error = methods_of(&sets, &["agora.test.v1.TestService"]).unwrap_err();
        assert!(error.to_string().contains("agora.test.v1.TestService/Forgot"), "{error}");
        assert!(methods(&["agora.test.v1.TestService"]).is_err(), "not described");
    }
}
