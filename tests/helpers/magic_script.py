"""A script that plans as do_magic does."""

MAGIC = """\
stem = kwargs['mapfile_dir'] + '/' + kwargs['outmapname']
    sets = [name.strip(" '") for name in args[0].strip('[]').split(',')]
    values = {'single': sets, 'timestep': ['8.0'] * 3, 'freqstep': ['97656.25'] * 3,
              'deep_high_size': ['6000 6000'], 'nchansout_clean1': ['4']}
    for name, entries in values.items():
        with open(stem + '_' + name, 'w') as stream:
            stream.write(repr([{'host': 'localhost', 'file': e, 'skip': False} for e in entries]))
    return {'groupmap': stem, 'single': stem + '_single'}
"""
