"""Every error wherry raises. Facts are attributes, the sentence is composed in the class, `hint` is what to type next.

    WherryError
      UsageRefused            what was asked cannot be done as it was asked: flags, settings, files that are not there
        SettingsRefused  SettingsUnreadable  FileMissing  FolderTaken  ExtraMissing  NoImageName  ImageNameRefused
        NotVouched  NotConfirmed  StoreRefused  ExpressionRefused  LoadRefused  KeyUnusable  DatabaseUnreadable
        EngineUnknown  FileTaken  ComposeUnreadable
      DataUnreadable          a table or a target that cannot be used: EncodingWrong, TableEmpty, TargetMissing
        SampleUnfit
      ModelUnreadable         a model file: ModelUnknown, ModelUnsafe, ModelNotFitted, VersionDrift, NotStorable
      BundleUnreadable        a bundle: BundleMissing, BundleDamaged, FormatUnknown, BundleUnfit, GoldenDiffers
      RequestRefused          a request to the service, by cause; server.problems knows the HTTP status of each
        BodyUnreadable  FramingWrong  TokenRefused  SwitchedOff  PathUnknown  MethodWrong  TooSlow  TooLarge
        UrlTooLong  MediaWrong  HostUnknown  FieldsRefused  HeadersTooLarge  Overloaded  DeadlinePassed
      ModelFailed             the model raised, or answered what cannot be sent
      ServiceFailed           the service cannot start or go on: PortTaken, AddressUnusable, StoreFailed
        WorkerFailed
      CallFailed              a service that wherry called did not answer as it should: ServiceUnreachable, CallRefused
        StoreUnreachable
      BuildFailed             an image: NoBuilder, BaseMissing, PipMissing, RequirementsUnresolved, LockUnreadable
        WheelMissing  CacheUnusable  BaseUnfit  RegistryFailed  RegistryRefused  RegistryUntrusted  RepositoryMissing
        ImageTaken  ImageMissing
        ImageUnverified: ImageUnsigned, SignatureWrong, DigestDiffers  AttachingRefused  TooVulnerable
      ClusterFailed           no cluster to use: NoCluster, CredentialsRefused, ContextUnclear, ContextMissing
        NotPermitted  NamespaceMissing  Conflict  ObjectForeign  ObjectRefused  ObjectMissing  SecretMissing
        ObjectChanged  RolloutFailed  ProbeFailed  NothingDeployed  ReleaseMissing  NameUnclear
        StillThere  WorkloadDiffers  ToolMissing  ToolFailed
      LockHeld                somebody else is at it: SpoolHeld, DeployHeld
      DiskFull

No HTTP status and no exit code here: server.problems and cli.main hold those tables.
"""

from __future__ import annotations

from wherry.errors.bundles import (
    BundleDamaged,
    BundleMissing,
    BundleUnfit,
    BundleUnreadable,
    DataUnreadable,
    EncodingWrong,
    FolderTaken,
    FormatUnknown,
    GoldenDiffers,
    ModelNotFitted,
    ModelUnknown,
    ModelUnreadable,
    ModelUnsafe,
    NotStorable,
    NotVouched,
    SampleUnfit,
    TableEmpty,
    TargetMissing,
    VersionDrift,
)
from wherry.errors.calls import (
    CallFailed,
    CallRefused,
    LoadRefused,
    ServiceUnreachable,
    StoreUnreachable,
)
from wherry.errors.clusters import (
    AccessRule,
    ClusterFailed,
    Conflict,
    ContextMissing,
    ContextUnclear,
    CredentialsRefused,
    DeployHeld,
    FieldConflict,
    NamespaceMissing,
    NameUnclear,
    NoCluster,
    NothingDeployed,
    NotPermitted,
    ObjectChanged,
    ObjectForeign,
    ObjectMissing,
    ObjectRefused,
    ProbeFailed,
    ReleaseMissing,
    RolloutFailed,
    SecretMissing,
    StillThere,
    ToolFailed,
    ToolMissing,
    WorkloadDiffers,
)
from wherry.errors.composing import ComposeUnreadable, FileTaken
from wherry.errors.images import (
    AttachingRefused,
    BaseMissing,
    BaseUnfit,
    BuildFailed,
    CacheUnusable,
    DatabaseUnreadable,
    DigestDiffers,
    EngineUnknown,
    ImageMissing,
    ImageTaken,
    ImageUnsigned,
    ImageUnverified,
    KeyUnusable,
    LockUnreadable,
    NoBuilder,
    PipMissing,
    RegistryFailed,
    RegistryRefused,
    RegistryUntrusted,
    RepositoryMissing,
    RequirementsUnresolved,
    SignatureWrong,
    TooVulnerable,
    WheelMissing,
)
from wherry.errors.requests import (
    BodyUnreadable,
    DeadlinePassed,
    FieldAtFault,
    FieldsRefused,
    FramingWrong,
    HeadersTooLarge,
    HostUnknown,
    MediaWrong,
    MethodWrong,
    ModelFailed,
    Overloaded,
    PathUnknown,
    RequestRefused,
    SwitchedOff,
    TokenRefused,
    TooLarge,
    TooSlow,
    UrlTooLong,
)
from wherry.errors.root import (
    DiskFull,
    ExpressionRefused,
    ExtraMissing,
    FileMissing,
    LockHeld,
    NotConfirmed,
    UsageRefused,
    WherryError,
)
from wherry.errors.services import (
    AddressUnusable,
    PortTaken,
    ServiceFailed,
    SpoolHeld,
    StoreFailed,
    StoreRefused,
    WorkerFailed,
)
from wherry.errors.settings import (
    ImageNameRefused,
    NoImageName,
    SettingProblem,
    SettingsRefused,
    SettingsUnreadable,
)

__all__ = [
    "AccessRule",
    "AddressUnusable",
    "AttachingRefused",
    "BaseMissing",
    "BaseUnfit",
    "BodyUnreadable",
    "BuildFailed",
    "BundleDamaged",
    "BundleMissing",
    "BundleUnfit",
    "BundleUnreadable",
    "CacheUnusable",
    "CallFailed",
    "CallRefused",
    "ClusterFailed",
    "ComposeUnreadable",
    "Conflict",
    "ContextMissing",
    "ContextUnclear",
    "CredentialsRefused",
    "DataUnreadable",
    "DatabaseUnreadable",
    "DeadlinePassed",
    "DeployHeld",
    "DigestDiffers",
    "DiskFull",
    "EncodingWrong",
    "EngineUnknown",
    "ExpressionRefused",
    "ExtraMissing",
    "FieldAtFault",
    "FieldConflict",
    "FieldsRefused",
    "FileMissing",
    "FileTaken",
    "FolderTaken",
    "FormatUnknown",
    "FramingWrong",
    "GoldenDiffers",
    "HeadersTooLarge",
    "HostUnknown",
    "ImageMissing",
    "ImageNameRefused",
    "ImageTaken",
    "ImageUnsigned",
    "ImageUnverified",
    "KeyUnusable",
    "LoadRefused",
    "LockHeld",
    "LockUnreadable",
    "MediaWrong",
    "MethodWrong",
    "ModelFailed",
    "ModelNotFitted",
    "ModelUnknown",
    "ModelUnreadable",
    "ModelUnsafe",
    "NameUnclear",
    "NamespaceMissing",
    "NoBuilder",
    "NoCluster",
    "NoImageName",
    "NotConfirmed",
    "NotPermitted",
    "NotStorable",
    "NotVouched",
    "NothingDeployed",
    "ObjectChanged",
    "ObjectForeign",
    "ObjectMissing",
    "ObjectRefused",
    "Overloaded",
    "PathUnknown",
    "PipMissing",
    "PortTaken",
    "ProbeFailed",
    "RegistryFailed",
    "RegistryRefused",
    "RegistryUntrusted",
    "ReleaseMissing",
    "RepositoryMissing",
    "RequestRefused",
    "RequirementsUnresolved",
    "RolloutFailed",
    "SampleUnfit",
    "SecretMissing",
    "ServiceFailed",
    "ServiceUnreachable",
    "SettingProblem",
    "SettingsRefused",
    "SettingsUnreadable",
    "SignatureWrong",
    "SpoolHeld",
    "StillThere",
    "StoreFailed",
    "StoreRefused",
    "StoreUnreachable",
    "SwitchedOff",
    "TableEmpty",
    "TargetMissing",
    "TokenRefused",
    "TooLarge",
    "TooSlow",
    "TooVulnerable",
    "ToolFailed",
    "ToolMissing",
    "UrlTooLong",
    "UsageRefused",
    "VersionDrift",
    "WheelMissing",
    "WherryError",
    "WorkerFailed",
    "WorkloadDiffers",
]
