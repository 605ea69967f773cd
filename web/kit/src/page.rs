//! Every page of the console and its address. Pure: parsing and printing are inverse (`tests::addresses_round_trip`).
//!
//! The path says which page of which workspace or organization; filters, the open item and the tab are in the query.

use domain::id::{OrganizationId, WorkspaceId};

use ui::icon::Icon;

/// A page about one workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkspacePage {
    Overview,
    Requests,
    Keys,
    Routes,
    Budgets,
    RateLimits,
    Usage,
}

/// A page about one organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrganizationPage {
    Members,
    Credentials,
    Models,
    Ledger,
    Nodes,
    KillSwitches,
    Audit,
    Settings,
}

/// An address of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    Home,
    SignIn,
    Account,
    Workspace(WorkspaceId, WorkspacePage),
    Organization(OrganizationId, OrganizationPage),
}

impl WorkspacePage {
    pub const ALL: [Self; 7] =
        [Self::Overview, Self::Requests, Self::Keys, Self::Routes, Self::Budgets, Self::RateLimits, Self::Usage];

    fn slug(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Requests => "requests",
            Self::Keys => "keys",
            Self::Routes => "routes",
            Self::Budgets => "budgets",
            Self::RateLimits => "rate-limits",
            Self::Usage => "usage",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Requests => "Requests",
            Self::Keys => "Virtual keys",
            Self::Routes => "Routes",
            Self::Budgets => "Budgets",
            Self::RateLimits => "Rate limits",
            Self::Usage => "Usage",
        }
    }

    pub fn icon(self) -> Icon {
        match self {
            Self::Overview => Icon::Overview,
            Self::Requests => Icon::Requests,
            Self::Keys => Icon::Key,
            Self::Routes => Icon::Route,
            Self::Budgets => Icon::Budget,
            Self::RateLimits => Icon::Clock,
            Self::Usage => Icon::Usage,
        }
    }
}

impl OrganizationPage {
    pub const ALL: [Self; 8] = [
        Self::Members,
        Self::Credentials,
        Self::Models,
        Self::Ledger,
        Self::Nodes,
        Self::KillSwitches,
        Self::Audit,
        Self::Settings,
    ];

    fn slug(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Credentials => "credentials",
            Self::Models => "models",
            Self::Ledger => "ledger",
            Self::Nodes => "nodes",
            Self::KillSwitches => "kill-switches",
            Self::Audit => "audit",
            Self::Settings => "settings",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Members => "Members & roles",
            Self::Credentials => "Credentials",
            Self::Models => "Models & prices",
            Self::Ledger => "Ledger",
            Self::Nodes => "Nodes",
            Self::KillSwitches => "Kill switches",
            Self::Audit => "Audit",
            Self::Settings => "Settings",
        }
    }

    pub fn icon(self) -> Icon {
        match self {
            Self::Members => Icon::Members,
            Self::Credentials => Icon::Credential,
            Self::Models => Icon::Model,
            Self::Ledger => Icon::Ledger,
            Self::Nodes => Icon::Node,
            Self::KillSwitches => Icon::Bolt,
            Self::Audit => Icon::Audit,
            Self::Settings => Icon::Settings,
        }
    }
}

impl Page {
    /// Reads the path of an address, without its query.
    pub fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            [] => Some(Self::Home),
            ["sign-in"] => Some(Self::SignIn),
            ["account"] => Some(Self::Account),
            ["workspaces", id, slug] => {
                let page = WorkspacePage::ALL.into_iter().find(|page| page.slug() == *slug)?;
                Some(Self::Workspace(id.parse().ok()?, page))
            }
            ["organizations", id, slug] => {
                let page = OrganizationPage::ALL.into_iter().find(|page| page.slug() == *slug)?;
                Some(Self::Organization(id.parse().ok()?, page))
            }
            _ => None,
        }
    }

    /// Prints the path.
    pub fn path(self) -> String {
        match self {
            Self::Home => "/".to_owned(),
            Self::SignIn => "/sign-in".to_owned(),
            Self::Account => "/account".to_owned(),
            Self::Workspace(id, page) => format!("/workspaces/{id}/{}", page.slug()),
            Self::Organization(id, page) => format!("/organizations/{id}/{}", page.slug()),
        }
    }

    /// What all pages of this kind share, whichever workspace they are about.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Home | Self::SignIn | Self::Account => "",
            Self::Workspace(_, page) => page.slug(),
            Self::Organization(_, page) => page.slug(),
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Home => "Headgate",
            Self::SignIn => "Sign in",
            Self::Account => "Your account",
            Self::Workspace(_, page) => page.title(),
            Self::Organization(_, page) => page.title(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        let (workspace, organization) = (WorkspaceId::from_uuid(7), OrganizationId::from_uuid(9));
        let pages = [Page::Home, Page::SignIn, Page::Account]
            .into_iter()
            .chain(WorkspacePage::ALL.map(|page| Page::Workspace(workspace, page)))
            .chain(OrganizationPage::ALL.map(|page| Page::Organization(organization, page)));
        for page in pages {
            assert_eq!(Page::parse(&page.path()), Some(page));
        }
    }

    #[test]
    fn foreign_addresses_are_no_page() {
        for path in [
            "/workspaces/ws_1/overview",
            "/workspaces/org_00000000000000000000000009/overview",
            "/nowhere",
            "/organizations/org_00000000000000000000000009/nothing",
        ] {
            assert_eq!(Page::parse(path), None, "{path}");
        }
    }
}
