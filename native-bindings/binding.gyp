{
  "targets": [
    {
      "target_name": "flowpin",
      "sources": [
        "addon/addon.cc",
        "addon/queue.cc",
        "addon/mapped-file.cc",
        "addon/steering.cc",
        "addon/icmp-copies.cc"
      ],
      "defines": ["NAPI_VERSION=8"],
      "cflags_cc": ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-fno-exceptions"]
    }
  ]
}
