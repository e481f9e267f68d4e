//! Who calls: bearer tokens become a [`Principal`] in one place, and one table maps
//! roles to permissions.

mod permission;
mod role;
pub mod token;
mod verify;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

pub use agora_proto::auth::v1::Permission;
use bus_schema::Site;

use crate::{Error, request};

pub use permission::MethodsError;
pub(crate) use permission::{Method, methods};
pub use role::{Role, UnknownRole};
pub(crate) use verify::Verifier;

/// What stands for every site among a principal's roles.
pub const EVERY_SITE: &str = "*";

/// Somebody whose token was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The token's `sub`.
    pub id: String,
    /// The token's `name`; may be empty.
    pub name: String,
    /// Roles per site; `*` stands for every site.
    pub roles: HashMap<String, BTreeSet<Role>>,
}

impl Principal {
    fn may(&self, permission: Permission, site: &str) -> bool {
        [site, EVERY_SITE]
            .iter()
            .filter_map(|site| self.roles.get(*site))
            .flatten()
            .any(|role| role.permissions().contains(&permission))
    }
}

/// Who calls a method, and which permission the method names.
#[derive(Clone, Debug)]
pub struct Caller {
    principal: Option<Arc<Principal>>,
    permission: Permission,
}

impl Caller {
    /// A caller of a method that needs this permission.
    pub const fn new(principal: Option<Arc<Principal>>, permission: Permission) -> Self {
        Self { principal, permission }
    }

    /// Who it is; nobody known if the call had no token.
    pub const fn principal(&self) -> Option<&Arc<Principal>> {
        self.principal.as_ref()
    }

    /// The principal's id, if there is one.
    pub fn id(&self) -> Option<&str> {
        self.principal.as_ref().map(|principal| principal.id.as_str())
    }

    /// Whether the caller has a permission on a site.
    pub fn may(&self, permission: Permission, site: &Site) -> bool {
        self.check(permission, site.as_str()).is_ok()
    }

    /// Checks that the caller has the method's permission on the site.
    ///
    /// # Errors
    /// [`Error::TokenMissing`] or [`Error::PermissionDenied`].
    pub fn authorize(&self, site: &Site) -> Result<(), Error> {
        self.require(self.permission, site)
    }

    /// Checks that the caller has the method's permission on every site; for methods
    /// that name none.
    ///
    /// # Errors
    /// [`Error::TokenMissing`] or [`Error::PermissionDenied`].
    pub fn authorize_everywhere(&self) -> Result<(), Error> {
        self.check(self.permission, EVERY_SITE)
    }

    /// Checks that the caller has a permission on a site.
    ///
    /// # Errors
    /// [`Error::TokenMissing`] or [`Error::PermissionDenied`].
    pub fn require(&self, permission: Permission, site: &Site) -> Result<(), Error> {
        request::note_site(site);
        self.check(permission, site.as_str())
    }

    fn check(&self, permission: Permission, site: &str) -> Result<(), Error> {
        if permission == Permission::Read {
            return Ok(());
        }
        let principal = self.principal.as_ref().ok_or(Error::TokenMissing)?;
        if principal.may(permission, site) {
            return Ok(());
        }
        let name = permission.as_str_name();
        Err(Error::PermissionDenied {
            permission: name.strip_prefix("PERMISSION_").unwrap_or(name).to_lowercase(),
            site: site.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(roles: &[(&str, Role)], permission: Permission) -> Caller {
        let mut by_site: HashMap<String, BTreeSet<Role>> = HashMap::new();
        for (site, role) in roles {
            by_site.entry((*site).to_owned()).or_default().insert(*role);
        }
        let principal = Principal { id: "ada".into(), name: String::new(), roles: by_site };
        Caller::new(Some(Arc::new(principal)), permission)
    }

    #[test]
    fn roles_hold_on_their_site_alone() {
        let (blog, news): (Site, Site) = ("blog".parse().unwrap(), "news".parse().unwrap());
        let author = caller(&[("blog", Role::Author)], Permission::WriteComment);
        assert!(author.authorize(&blog).is_ok());
        let denied = author.authorize(&news).unwrap_err().to_string();
        assert_eq!(denied, "permission write_comment is needed on site news");
        assert!(author.authorize_everywhere().is_err());
        assert!(!author.may(Permission::Moderate, &blog));
        assert!(author.require(Permission::WritePost, &blog).is_ok());

        let everywhere = caller(&[("*", Role::Moderator)], Permission::Moderate);
        assert!(everywhere.authorize(&news).is_ok());
        assert!(everywhere.authorize_everywhere().is_ok());
    }

    #[test]
    fn without_a_token_one_reads_and_nothing_else() {
        let blog: Site = "blog".parse().unwrap();
        let nobody = |permission| Caller::new(None, permission).authorize(&blog);
        assert!(nobody(Permission::Read).is_ok());
        assert!(matches!(nobody(Permission::WriteComment), Err(Error::TokenMissing)));
        assert!(matches!(nobody(Permission::Unspecified), Err(Error::TokenMissing)));
    }
}
