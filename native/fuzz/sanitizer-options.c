/* The leak checker attaches to its process, which a process that is not dumpable refuses; nothing is allocated anyway. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
